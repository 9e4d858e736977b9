"""``./run train data --mixture FILE``: one data set of many sources, by a recipe."""
from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vr_ros.datasets.sample import DataSetError
from vr_ros.training.data.command import OUT, refuse
from vr_ros.training.data.mixtures.building import Taken, build_mixture
from vr_ros.training.data.mixtures.recipe import read_mixture
from vr_ros.training.data.shards import BROKEN, ShardError
from vr_ros.training.data.sources.declared import DATA
from vr_ros.training.options import number_from


def main(arguments: Sequence[str]) -> int:
    """Build a mixture.

    :return: 0 done; 1 done, but a part has fewer rows than wanted; 2 bad usage or data; 130
        stopped.
    """
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    try:
        mixture = read_mixture(options.mixture)
        out = options.out or OUT / mixture.name
        done, taken = build_mixture(
            mixture, out, options.data, options.split, shard_rows=options.shard_size,
            processes=options.processes, skip_missing=options.skip_missing,
            keep_parts=options.keep_parts,
            announce=lambda name: print(f'part {name}', file=sys.stderr))
    except (DataSetError, ShardError, OSError) as error:
        return refuse(str(error))
    except KeyboardInterrupt:
        print('stopped; the same command goes on there', file=sys.stderr)
        return 130
    console = Console()
    console.print(table_of(taken, f'{options.split} of {mixture.name}'))
    console.print(f'{done.rows} rows of {mixture.rows or "all"} wanted in {done.shards} files in'
                  f' {out}, {time.monotonic() - started:.1f} s', highlight=False, soft_wrap=True)
    if done.left_out:
        console.print(f'what was left out: {out / BROKEN}', highlight=False, soft_wrap=True)
    return 1 if any(one.is_short for one in taken) else 0


def table_of(taken: Sequence[Taken], title: str) -> Table:
    """Lay out what each part came to."""
    table = Table(title=title)
    for name in ('part', 'wanted', 'taken', 'looked at', 'left out'):
        table.add_column(name, justify='left' if name in ('part', 'left out') else 'right')
    for one in taken:
        reasons = [f'{number} {reason}' for reason, number in sorted(one.left_out.items())]
        table.add_row(
            one.part, 'all' if one.wanted is None else str(one.wanted), str(one.rows),
            str(one.looked), 'the set is not there' if one.missing else '\n'.join(reasons))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='run train data', description=__doc__)
    parser.add_argument('--mixture', type=Path, required=True, metavar='FILE',
                        help='a recipe, such as config/training/mixtures/visionreasoner_7k.yaml')
    parser.add_argument('--data', type=Path, default=DATA, metavar='DIR',
                        help='the public sets lie in it, each by the name of its source'
                             ' (default: %(default)s)')
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help=f'folder of the rows (default: {OUT}/ and the name of the mixture)')
    parser.add_argument('--split', default='train', help='(default: %(default)s)')
    parser.add_argument('--shard-size', type=number_from(1), default=1000, metavar='N',
                        help='rows per file (default: %(default)s)')
    parser.add_argument('--processes', type=number_from(1), metavar='N',
                        default=os.cpu_count() or 1,
                        help='that make rows; each opens the set (default: %(default)s)')
    parser.add_argument('--skip-missing', action='store_true',
                        help='parts whose set is not there have no rows, instead of stopping')
    parser.add_argument('--keep-parts', action='store_true',
                        help='leave the rows of the parts in parts/')
    return parser
