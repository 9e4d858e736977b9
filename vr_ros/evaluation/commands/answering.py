"""How commands begin: what is not answered yet is asked, and all of it summed up."""
from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from vr_ros.datasets.sample import DataSet
from vr_ros.evaluation.commands.options import asker
from vr_ros.evaluation.runs.run import Asker, complete, header_of
from vr_ros.evaluation.runs.runner import Job
from vr_ros.evaluation.runs.summary import Examination, Summary


def answered(
    options: argparse.Namespace, started: float, job: Job, data_set: DataSet, model: str,
    path: Path | None, *, ask: Asker | None = None, examination: Examination | None = None,
    **how: Any,
) -> Summary:
    """Answer what the records do not hold yet, and compute the figures of all.

    :param started: when the command began, by the monotonic clock, seconds.
    :param data_set: that of the job.
    :param model: what answers, by its name.
    :param path: of the records; None: nothing is kept.
    :param ask: what puts samples to models; None: what the options say.
    :param how: whatever else answers depend on.
    :raises RunError: a model cannot be loaded, a process died, or the disk is full.
    :raises RecordsError: the records are of another run.
    """
    header = header_of(data_set, model, options.limit, options.shard, **how)
    run = complete(job, data_set, header, path, ask or asker(options))
    return Summary.of(run, path, time.monotonic() - started, examination=examination)
