"""What a file of records is about: the data set whose pictures it can be shown with."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSet
from vr_ros.evaluation.runs.records import Header, RecordsError


def data_set_of(header: Header, given: str | None) -> tuple[DataSet | None, Sequence[str]]:
    """Open what records are about.

    :param given: path or name of the data set, or path of the bag; None: only the simulator is at
        hand.
    :return: None where it is not at hand; and why, if that has to be said.
    :raises RecordsError: if it is another data set, or is not what it was.
    :raises DataSetError: if there is none.
    """
    if given is None:
        return _simulated(header)
    opened = _open(header, given)
    # What was true may have come from elsewhere, and be named behind a bag: here pictures count.
    if header.dataset != opened.name and not header.dataset.startswith(f'{opened.name}, '):
        raise RecordsError(f'records of {header.dataset}, not of {opened.name}')
    return opened, ()


def _open(header: Header, given: str) -> DataSet:
    options = header.options
    if 'truth topics' not in options:
        return open_data_set(given, str(options.get('split', '')))
    # Not before: it brings what reads bags.
    from vr_ros.bags.questions import read_questions
    from vr_ros.evaluation.bags.bag_set import BagSet

    return BagSet(read_questions(Path(given), options['images'], options['truth topics']))


def _simulated(header: Header) -> tuple[DataSet | None, Sequence[str]]:
    if not header.dataset.startswith('sim '):
        return None, ()
    # Not before: they bring the renderer.
    from vr_ros.datasets.sim_scenes import SimScenes, simulator_digest

    if header.options.get('simulator') != simulator_digest():
        return None, ['the simulator has changed since: its pictures are left out']
    return SimScenes.named(header.dataset), ()
