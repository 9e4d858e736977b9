"""``./run train data NAME``: rows of training data, in sharded Parquet, from any source."""
from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from vr_ros.core.types import PerceptionError, Size
from vr_ros.datasets.sample import DataSetError
from vr_ros.training.data.build import Job, build
from vr_ros.training.data.convert import ObjectFilter
from vr_ros.training.data.mixing import Mix, Mixed, needs_survey, require_absences, survey
from vr_ros.training.data.registry import builders
from vr_ros.training.data.shards import BROKEN, ShardError, Written
from vr_ros.training.data.source import Source
from vr_ros.training.data.storage import Storage
from vr_ros.training.options import number_from

KEEP = 'keep'
OUT = Path('runs/data')
# What Pillow, which reads the rows again, takes for a picture and not for an attack; of JPEG.
_MOST_PIXELS, _LONGEST_SIDE = Image.MAX_IMAGE_PIXELS or 1 << 26, 65_500


def main(arguments: Sequence[str]) -> int:
    """Build a split.

    :return: 0 done; 1 done, but something broken was left out; 2 bad usage or data; 130 stopped.
    """
    if any(one.partition('=')[0] == '--mixture' for one in arguments):
        # Of many sources, each built as by this command.
        return importlib.import_module('vr_ros.training.data.mixtures.command').main(arguments)
    known = builders()
    if arguments[:1] in (['-h'], ['--help']) or not arguments:
        print('usage: run train data NAME [OPTIONS]; options of one: run train data NAME --help;'
              ' of many: run train data --mixture FILE')
        for name, builder in known.items():
            print(f'  {name:20} {builder.help}')
        return 0
    name = arguments[0]
    if name not in known:
        return refuse(f'no source "{name}"; there are: {", ".join(known)}')
    parser = argparse.ArgumentParser(prog=f'run train data {name}', description=known[name].help)
    known[name].add_options(parser)
    add_options(parser)
    return run(name, parser.parse_args(arguments[1:]))


def run(name: str, options: argparse.Namespace) -> int:
    """Build a split with the options of :func:`add_options` and those of the source."""
    started = time.monotonic()
    out = options.out or OUT / name
    try:
        done = build(job_of(name, options, out), out, shard_rows=options.shard_size,
                     limit=options.limit, processes=options.processes)
    except (DataSetError, ShardError, OSError) as error:
        return refuse(str(error))
    except KeyboardInterrupt:
        print(f'stopped; the same command goes on in {out}', file=sys.stderr)
        return 130
    show(out, options.split, done, time.monotonic() - started)
    return 1 if done.faults else 0


def job_of(name: str, options: argparse.Namespace, out: Path) -> Job:
    """Make the job that the options of :func:`add_options` and of the source name.

    :raises DataSetError: one of them is wrong.
    """
    options.storage = storage_of(options, getattr(builders()[name], 'storage', Storage()))
    options.survey = out / f'{options.split}.survey.jsonl'
    return Job(partial(open_source, name, options), options.split, options.storage,
               *_agreement(options))


def add_options(parser: argparse.ArgumentParser, *, out: str = 'NAME',
                processes: int | None = None) -> None:
    """Declare what all sources have.

    :param out: what the folder of the rows is called after, for the help.
    :param processes: that make rows; None: one per processor.
    """
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help=f'folder of the rows (default: {OUT}/{out})')
    parser.add_argument('--split', default='train', help='(default: %(default)s)')
    parser.add_argument('--seed', type=number_from(0), default=0, metavar='N',
                        help='of everything that is drawn (default: %(default)s)')
    parser.add_argument('--limit', type=number_from(1), metavar='N', help='end with so many rows')
    parser.add_argument('--shard-size', type=number_from(1), default=1000, metavar='N',
                        help='rows per file (default: %(default)s)')
    default = '%(default)s' if processes else 'one per processor, %(default)s'
    parser.add_argument('--processes', type=number_from(1), metavar='N',
                        default=processes or os.cpu_count() or 1,
                        help=f'that make rows (default: {default})')
    added = parser.add_argument_group('rows that are added, to those of the source')
    added.add_argument('--joins', type=float, default=0.0, metavar='SHARE',
                       help='of rows that another one follows: their instruction joined with'
                            ' another about the same image')
    added.add_argument('--quoted', action='store_true',
                       help="join as VisionReasoner's data do: 'a' and 'b'")
    added.add_argument('--negatives', type=float, default=0.0, metavar='SHARE',
                       help='of rows that another one follows: an instruction about what is known'
                            ' not to be in the image')
    wanted = parser.add_argument_group('rows that are left out')
    wanted.add_argument('--agreement', type=float, metavar='IOU',
                        help='unless the segmenter draws the true masks from boxes and points; 0.6'
                             " in VisionReasoner's data. Each process loads it")
    wanted.add_argument('--segmenter', default='visionreasoner_7b', metavar='CARD',
                        help='model card with the segmenter (default: %(default)s)')
    stored = parser.add_argument_group('how images are stored')
    stored.add_argument('--size', type=_size, metavar='SIDE|WxH|keep',
                        help='all get this size, truth and masks with them; keep: they keep theirs')
    stored.add_argument('--interpolation', choices=('area', 'bilinear', 'bicubic'))
    stored.add_argument('--min-pixels', type=number_from(1, _MOST_PIXELS), metavar='N',
                        help='with --size keep')
    stored.add_argument('--max-pixels', type=number_from(1), metavar='N', help='with --size keep')
    stored.add_argument('--jpeg', type=number_from(1, 100), metavar='QUALITY',
                        help='1 to 100 (default: PNG, without loss)')
    stored.add_argument('--masks', action='store_true', help="rows tell the objects' masks")


def open_source(name: str, options: argparse.Namespace) -> Source:
    """Open a source, in any process."""
    mix = Mix(options.joins, options.negatives, options.quoted)
    source = builders()[name].open(options)
    if not (mix.joins or mix.negatives):
        return source
    require_absences(source, mix)
    surveyed = survey(source, options.survey) if needs_survey(source, mix) else None
    return Mixed(source, mix, options.seed, surveyed)


def storage_of(options: argparse.Namespace, default: Storage) -> Storage:
    """Change a source's own way of storing images as the options say.

    :raises DataSetError: they contradict each other.
    """
    changes = {
        'interpolation': options.interpolation, 'min_pixels': options.min_pixels,
        'max_pixels': options.max_pixels, 'jpeg_quality': options.jpeg,
        'with_masks': options.masks or None}
    storage = replace(default, **{key: value for key, value in changes.items() if value})
    if options.size:
        storage = replace(storage, size=None if options.size == KEEP else options.size)
    if storage.size is not None and (options.min_pixels or options.max_pixels):
        raise DataSetError('--min-pixels and --max-pixels are of images that keep their size:'
                           ' --size keep')
    if storage.size is None and storage.min_pixels > storage.max_pixels > 0:
        raise DataSetError(f'at least {storage.min_pixels} pixels and at most {storage.max_pixels}:'
                           ' --min-pixels and --max-pixels have to leave room')
    return storage


def _agreement(options: argparse.Namespace) -> tuple[Callable[[], ObjectFilter] | None, str]:
    """:return: what makes the filter, in any process, and its name."""
    least, card = options.agreement, options.segmenter
    if least is None:
        return None, ''
    if not 0 <= least <= 1:
        raise DataSetError('--agreement is an IoU, 0 to 1')
    return partial(_open_agreement, card, least), f'masks of {card} agree to {least}'


def _open_agreement(card: str, least: float) -> ObjectFilter:
    # Torch is needed for this alone.
    from vr_ros.training.trainers.agreement import open_agreement

    try:
        return open_agreement(card, least)
    except PerceptionError as error:   # another process could not hand it on
        raise DataSetError(error.message) from error


def show(out: Path, split: str, done: Written, seconds: float) -> None:
    """Print what was written, and what was left out, by reason."""
    console = Console()
    table = Table(title=f'{split} in {out}')
    table.add_column('rows')
    table.add_column('', justify='right')
    for task, rows in sorted(done.tasks.items()):
        table.add_row(task, str(rows))
    table.add_section()
    table.add_row('all', str(done.rows))
    for reason, number in sorted(done.left_out.items()):
        table.add_row(f'left out: {reason}', str(number))
    console.print(table)
    console.print(f'{done.rows} rows in {done.shards} files, {seconds:.1f} s', highlight=False)
    if done.left_out:
        console.print(f'what was left out: {out / BROKEN}', highlight=False, soft_wrap=True)


def refuse(reason: str) -> int:
    """Say in one line why nothing is done."""
    print(f'train data: {" ".join(reason.split())}', file=sys.stderr)
    return 2


def _size(text: str) -> Size | str:
    if text == KEEP:
        return KEEP
    width, _, height = text.partition('x')
    try:
        size = Size(*map(number_from(1, _LONGEST_SIDE), (width, height or width)))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is no size: 840, 640x480 or keep') from error
    if size.width * size.height > _MOST_PIXELS:
        raise argparse.ArgumentTypeError(f'{text} has more than {_MOST_PIXELS} pixels')
    return size
