"""Training data: from pictures, instructions and truths to rows that every trainer reads.

A *source* gives drafts by place, 0 to len - 1 (:class:`~.source.Source`); :mod:`.convert` turns a
draft into a :class:`~.schema.Row`; :mod:`.build` writes the rows of a source to sharded Parquet, in
order, resumed where a run was killed.

A new source is a module in ``sources/`` with ``BUILDERS``, a mapping from the name that
``./run train data NAME`` takes to a :class:`~.source.Builder`; nothing else has to be told about
it. Any data set of :mod:`vr_ros.datasets` becomes a source by :class:`~.source.DataSetSource`; what
differs from set to set is a :class:`~.source.Recipe`: its verifier with parameters and weights, its
ability, its filters. A mixture is a source, too, whose drafts name their own ``data_source``.
"""
