"""Options that several commands have, and where they keep records."""
from __future__ import annotations

import argparse
import re
from pathlib import Path

from vr_ros.evaluation.claims import require_writable
from vr_ros.evaluation.records import RecordsError


def add_model_options(parser: argparse.ArgumentParser, processes: int = 1) -> None:
    """Declare which model answers, and in how many processes."""
    parser.add_argument('--model', default='sim_tiny', help='model card (default: %(default)s)')
    parser.add_argument('--device', default='auto',
                        help='auto, cpu or cuda (default: %(default)s)')
    parser.add_argument('--processes', type=int, default=processes,
                        help='that answer, each with a model (default: %(default)s)')


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Declare how much of a data set is asked, and what is kept of it."""
    parser.add_argument('--limit', type=int, help='only that many samples, the first ones')
    parser.add_argument('--records', type=Path, metavar='DIR',
                        help='keep every answer there, and go on from what is there')
    parser.add_argument('--json', type=Path, help='write the claims there')


def check_options(options: argparse.Namespace) -> None:
    """Refuse numbers below 1, and files that cannot be written, before anything long begins.

    :raises RecordsError, OSError: with what is wrong.
    """
    for name in ('processes', 'limit', 'scenes', 'per_scene'):
        value = getattr(options, name, None)
        if value is not None and value < 1:
            raise RecordsError(f'--{name.replace("_", "-")} is at least 1')
    if options.json:
        require_writable(options.json)


def records_path(options: argparse.Namespace, *words: str) -> Path | None:
    """Name the file of records by what is asked of whom; None without ``--records``."""
    if options.records is None:
        return None
    words = (*words, Path(options.model).stem,
             '' if options.limit is None else str(options.limit))
    name = '-'.join(re.sub(r'[^\w.]+', '_', word) for word in words if word)
    return options.records / f'{name}.jsonl'
