"""V-Triune's training data as it is published: every row names its verifier, its truth and weights.

Orsta-Data-47k: ``train/train_<task>_<source>_<rows>.parquet``. Source of the columns: V-Triune,
section 3.1. Its file names end in ``_x2`` where rows are meant to come twice.
"""
from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vr_ros.core.types import Task
from vr_ros.datasets.columns import PLACE_OF_IMAGE
from vr_ros.datasets.parquet import Table, open_table
from vr_ros.datasets.pictures import Pictures
from vr_ros.datasets.sample import DataSetError, SampleError, digest, size_of
from vr_ros.datasets.truth import Truth
from vr_ros.training.data.source import Draft, LeftOut, Scoring
from vr_ros.training.data.sources.declared import DATA, in_pieces
from vr_ros.training.data.sources.public import NATURAL
from vr_ros.training.data.storage import Storage
from vr_ros.training.rewards import samples

NEEDED = ('data_source', 'images', 'prompt', 'ability', 'reward_model', 'extra_info')
HOW_TO_GET = ("V-Triune's own rows are the Parquet files of One-RL-to-See-Them-All/Orsta-Data-47k,"
              ' in train/ and test/; how to get it:'
              ' https://github.com/MiniMax-AI/One-RL-to-See-Them-All')
# What it says behind a question about boxes: how to answer is for the model card to say.
_HOW_TO_ANSWER = re.compile(r'\s*Let.s think step by step and output the final answer.*', re.DOTALL)


class OrstaSource:
    """Published rows; ids are FILE/ROW.

    Images and scoring are as they are. How to answer is cut off the instruction where it is the
    same for all, which is so for boxes; the questions say it in many ways, and keep it.

    :param folder: with the split's folder, or with its files.
    :param only: sources, by their ``data_source``; empty: all.
    :param seed: of the order; None: as they are.
    :param limit: so many rows are wanted; None: all.
    :raises DataSetError: there are no such files, or they have other columns.
    """

    name = 'orsta'

    def __init__(
        self, folder: Path, split: str, only: Sequence[str] = (), seed: int | None = None,
        limit: int | None = None,
    ) -> None:
        files = [path for base in (folder / split, folder)
                 for path in sorted(base.glob(f'{split}_*.parquet'))]
        if not files:
            raise DataSetError(f'{folder}: no {split}_….parquet, nor in {split}/. {HOW_TO_GET}')
        self._tables: list[Table] = [open_table([path], path.stem) for path in files]
        for table in self._tables:
            missing = [name for name in NEEDED if name not in table.columns]
            if missing:
                raise DataSetError(f'{table.name}: lacks the columns {", ".join(missing)}.'
                                   f' {HOW_TO_GET}')
        self._stems = [path.stem for path in files]
        self._places = [(table, row) for table, content in enumerate(self._tables)
                        for row in range(len(content))]
        self._order = np.arange(len(self._places))
        if seed is not None:
            self._order = in_pieces(np.random.default_rng(seed).permutation(self._order), limit)
        self._only, self._pictures = frozenset(only), Pictures()
        self.identity = (f'orsta {digest(*(table.name for table in self._tables))},'
                         f' only {sorted(only)}, seed {seed}')

    def __len__(self) -> int:
        return len(self._order)

    @cached_property
    def ids(self) -> Sequence[str]:
        """What messages call the places."""
        return [self._id(place) for place in range(len(self))]

    def load(self, place: int) -> Iterator[Draft]:
        """See :class:`vr_ros.training.data.source.Source`."""
        table, number = self._places[int(self._order[place])]
        row = self._tables[table].row(number)
        if self._only and row['data_source'] not in self._only:
            raise LeftOut('of another source', str(row['data_source']))
        try:
            sample = samples.sample_from_row(row)
            problem = next(turn['content'] for turn in row['prompt'] if turn['role'] == 'user')
            problem = _HOW_TO_ANSWER.sub('', problem.replace(PLACE_OF_IMAGE, '')).strip()
        except (samples.SampleError, KeyError, TypeError, AttributeError, StopIteration) as error:
            raise SampleError(f'broken row: {type(error).__name__} {error}') from error
        is_detection = sample.verifier == 'detection'
        # All rows have the columns of boxes' parameters.
        parameters = {name: value for name, value in sample.parameters.items()
                      if is_detection or not name.startswith('det_')}
        image, name = self._pictures.read(row['images'], row)
        task = Task.DETECTION if is_detection else Task.VQA
        yield Draft(
            self._id(place), image, problem, Truth(name, size_of(image), task=task), task,
            str(row['ability'] or ''), scoring=Scoring(
                sample.verifier, parameters, sample.accuracy_ratio, sample.format_ratio,
                sample.ground_truth),
            data_source=f'orsta_{sample.data_source}', extra={'orsta_id': sample.id})

    def _id(self, place: int) -> str:
        table, number = self._places[int(self._order[place])]
        return f'{self._stems[table]}/{number}'


class OrstaBuilder:
    """V-Triune's own rows on the command line."""

    help = "V-Triune's own rows (https://github.com/MiniMax-AI/One-RL-to-See-Them-All)"
    storage: Storage = NATURAL

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`vr_ros.training.data.source.Builder`."""
        parser.add_argument('--data', type=Path, default=DATA / 'orsta', metavar='DIR',
                            help='with train/ and test/ (default: %(default)s)')
        parser.add_argument('--sources', nargs='*', default=(), metavar='NAME',
                            help='only these, by their data_source (default: all)')

    def open(self, options: argparse.Namespace) -> OrstaSource:
        """See :class:`vr_ros.training.data.source.Builder`."""
        return OrstaSource(options.data, options.split, options.sources, options.seed,
                           options.limit)


BUILDERS = {'orsta': OrstaBuilder()}
