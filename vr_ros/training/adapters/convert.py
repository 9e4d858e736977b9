"""``./run train convert``: training data in the columns of verl, EasyR1 or TRL."""
from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vr_ros.core.types import PerceptionError
from vr_ros.models.card import load_card
from vr_ros.models.card_types import ModelCard
from vr_ros.progress import Meter
from vr_ros.training.adapters.columns import TARGETS, Target, ready_row
from vr_ros.training.adapters.ordered_shards import OrderedWriter, count_rows, find_splits
from vr_ros.training.adapters.prompts import check_system
from vr_ros.training.data.shards import ShardError, find_files, iter_columns
from vr_ros.training.options import number_from
from vr_ros.training.rewards.samples import SampleError

# Of the rows that are left out, so many are named on the screen.
NAMED = 3


@dataclass(frozen=True)
class LeftOut:
    """A row that cannot be trained on, and why."""

    split: str
    id: str
    reason: str


@dataclass(frozen=True)
class Order:
    """In which order rows are written.

    :param seed: of the order that is drawn; None keeps that of the data.
    :param with_progress: each row gets its share of the way through the split, for trainers that do
        not tell a reward the step.
    """

    seed: int | None = None
    with_progress: bool = False

    def places(self, rows: int) -> np.ndarray:
        """:return: (rows,) the place of each row, 0 to rows - 1."""
        if self.seed is None:
            return np.arange(rows)
        return np.random.default_rng(self.seed).permutation(rows)


class Conversion:
    """Writes the rows of one data set for one trainer.

    :param folder: with ``<split>-00000-of-00002.parquet``.
    :raises ShardError: there are none, not all of them, or no row is in them.
    :raises SampleError: the trainer cannot be given the card's prompts.
    """

    def __init__(self, folder: Path, target: Target, card: ModelCard, order: Order) -> None:
        check_system(card, target.passes_system, target.name)
        self._target, self._card, self._order = target, card, order
        self._files = {split: find_files(folder, split) for split in find_splits(folder)}
        self.rows = {split: count_rows(files) for split, files in self._files.items()}
        empty = [str(files[0]) for split, files in self._files.items() if not self.rows[split]]
        if empty:
            raise ShardError(f'{", ".join(empty)}: no row is in this split')

    def write(self, out: Path) -> Iterator[LeftOut | None]:
        """Write all splits to a folder that exists, as many files each as they have.

        :return: for each row None, or why it was left out.
        :raises ShardError: a file is damaged, lacks a column, or has one of another type.
        """
        for split, files in self._files.items():
            total = self.rows[split]
            places = self._order.places(total).tolist()
            with OrderedWriter(out, split, self._target.schema, total, len(files)) as writer:
                for columns, place in zip(iter_columns(files), places, strict=True):
                    progress = place / total if self._order.with_progress else None
                    try:
                        ready = ready_row(columns, place, self._card.reasoner, progress)
                    except SampleError as error:
                        yield LeftOut(split, str(columns['id']), str(error))
                        continue
                    writer.add(place, self._target.columns(ready))
                    yield None


def convert(conversion: Conversion, out: Path) -> list[LeftOut]:
    """Write a whole data set, or nothing of it.

    :param out: does not exist yet. Rows that are left out are listed beside it.
    :raises ShardError: a file is damaged, lacks a column, or has one of another type.
    """
    partial = out.with_name(f'{out.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    left_out = []
    try:
        with Meter(sum(conversion.rows.values()), what='rows') as meter:
            for one in conversion.write(partial):
                meter.advance(1)
                if one:
                    left_out.append(one)
    except BaseException:
        shutil.rmtree(partial)
        raise
    partial.rename(out)
    if left_out:
        # Beside it: EasyR1 tells what a folder holds by any file in it.
        with list_beside(out).open('w', encoding='utf-8') as file:
            file.writelines(json.dumps(vars(one)) + '\n' for one in left_out)
    return left_out


def list_beside(out: Path) -> Path:
    """Name the list of rows that were left out."""
    return out.with_name(f'{out.name}.left_out.jsonl')


def main(arguments: Sequence[str]) -> int:
    """Convert.

    :return: 0 done; 1 done, but rows were left out; 2 bad usage or data, nothing was written.
    """
    parser = argparse.ArgumentParser(prog='run train convert', description=__doc__)
    parser.add_argument('--to', required=True, choices=tuple(TARGETS), help='the trainer')
    parser.add_argument('--card', default='visionreasoner_7b',
                        help='model card whose prompts the rows get (default: %(default)s)')
    parser.add_argument('--shuffle', type=number_from(0), metavar='SEED',
                        help='write the rows in an order that is drawn with this seed')
    parser.add_argument('--progress', action='store_true',
                        help='write into each row how far through the training it comes, for '
                        'rewards that change; the trainer must not shuffle, and train one epoch')
    parser.add_argument('data', type=Path, help='folder with train-00000-of-00001.parquet …')
    parser.add_argument('out', type=Path, help='folder to be written')
    options = parser.parse_args(arguments)
    if options.out.exists():
        return _refuse(f'{options.out} exists: name a folder that does not')
    try:
        card, order = load_card(options.card), Order(options.shuffle, options.progress)
        conversion = Conversion(options.data, TARGETS[options.to], card, order)
        left_out = convert(conversion, options.out)
    except (PerceptionError, SampleError, ShardError, OSError) as error:
        return _refuse(str(error))
    written = sum(conversion.rows.values()) - len(left_out)
    splits = ', '.join(f'{rows} {split}' for split, rows in conversion.rows.items())
    print(f'{options.out}: {written} rows for {options.to} of {splits}')
    for one in left_out[:NAMED]:
        print(f'left out: {one.split} {one.id}: {one.reason}', file=sys.stderr)
    if left_out:
        print(f'{len(left_out)} rows left out, all of them in {list_beside(options.out)}',
              file=sys.stderr)
    return 1 if left_out else 0


def _refuse(reason: str) -> int:
    print(f'train convert: {" ".join(reason.split())}', file=sys.stderr)
    return 2
