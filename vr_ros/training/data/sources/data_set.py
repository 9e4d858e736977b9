"""Any data set that ``./run evaluate dataset`` reads, such as one's own: COCO, CVAT, YOLO, JSON."""
from __future__ import annotations

import argparse
from pathlib import Path

from vr_ros.core.types import Task
from vr_ros.datasets.registry import open_data_set
from vr_ros.training.data.source import Builder, DataSetSource, Recipe, Source, drawn_order

TASKS = {task.name.lower(): task for task in Task}


class DataSetBuilder:
    """A data set by its path or name on the command line."""

    help = 'a data set of a known format, by its path or name, as ./run evaluate dataset takes it'

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`Builder`."""
        parser.add_argument('data_set', metavar='PATH', help='its folder, file or name')
        parser.add_argument('--from-split', default='', metavar='NAME',
                            help='which part of it (default: the only one)')
        parser.add_argument('--name', default='',
                            help='data_source of the rows (default: the last part of PATH)')
        parser.add_argument('--task', choices=list(TASKS), default='auto',
                            help='of all rows (default: as the data set says)')
        parser.add_argument('--shuffle', action='store_true',
                            help='take the samples in an order drawn with --seed')
        parser.add_argument('--region-is-object', action='store_true',
                            help='where only all pixels asked for are known, they are one object')
        parser.add_argument('--exhaustive', action='store_true',
                            help='every object of every label is annotated in every image: what is'
                                 ' not annotated is not there (for --negatives)')

    def open(self, options: argparse.Namespace) -> Source:
        """See :class:`Builder`."""
        data_set = open_data_set(options.data_set, options.from_split)
        recipe = Recipe(
            options.name or Path(options.data_set).resolve().stem, task=TASKS[options.task],
            region_is_object=options.region_is_object, is_exhaustive=options.exhaustive)
        order = drawn_order(len(data_set.ids), options.seed) if options.shuffle else None
        return DataSetSource(data_set, recipe, order)


BUILDERS: dict[str, Builder] = {'set': DataSetBuilder()}
