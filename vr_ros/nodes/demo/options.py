"""The demo's command line: everything that can be refused is refused before anything starts."""
from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from vr_ros.core.prompt import validate_instruction
from vr_ros.core.types import PerceptionError
from vr_ros.evaluation.claims import require_writable
from vr_ros.models.card import load_card
from vr_ros.sim.instructions import HELDOUT_SEED

# The first whose two scenes both show at least three kinds of objects in three colours.
DEFAULT_SEED = HELDOUT_SEED + 5
OUT, OUT_OF_PICTURES = Path('out/demo'), Path('out/picture')
_DESCRIPTION = 'A simulated robot camera obeys plain words, over real ROS 2 from end to end.'


class UsageError(Exception):
    """What was asked for cannot be done; one line that says why."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    :raises SystemExit: with status 2, bad usage.
    """
    parser = argparse.ArgumentParser(
        prog='run demo', description=_DESCRIPTION,
        epilog='Exit status: 0 complete, 1 an instruction stayed unanswered, 2 bad usage.')
    parser.add_argument('--seconds', type=float, default=0.0,
                        help='go on asking that long (default: each kind of instruction once)')
    parser.add_argument('--out', help='folder for report, bag and summary '
                        f'(default: {OUT}; with --image {OUT_OF_PICTURES})')
    parser.add_argument('--seed', type=int, default=DEFAULT_SEED,
                        help='of the first scene (default: %(default)s)')
    parser.add_argument('--objects', type=int, default=4,
                        help='in each scene; the default is a simple scene, 0 draws 1 to 10')
    parser.add_argument('--orbit', type=float, default=0.0, help='degrees per second of the camera')
    parser.add_argument('--model', default='sim_tiny', help='model card (default: %(default)s)')
    parser.add_argument('--view', action='store_true', help='open the report in a browser')
    parser.add_argument('--json', metavar='FILE',
                        help='write measurements there: shares answered and right, median time, '
                             'with their aims, the machine and versions; the answers themselves '
                             'are in summary.json of --out')
    parser.add_argument('--pick', action='store_true',
                        help='have a gripper lift what is asked for, by its 3-D position')
    parser.add_argument('--image', metavar='FILE', help='ask about this picture, without ROS')
    parser.add_argument('--ask', metavar='TEXT', help='what to ask about it')
    options = parser.parse_args(arguments)
    for is_wrong, complaint in (
        (not options.seconds >= 0, '--seconds is a number from 0 on'),
        (options.seed < 0, '--seed is a whole number from 0 on'),
        (not 0 <= options.objects <= 10, '--objects is 0 to 10'),
        (not abs(options.orbit) <= 90, '--orbit is -90 to 90 degrees per second'),
        ((options.image is None) != (options.ask is None), '--image and --ask belong together'),
        (options.pick and options.image is not None,
         '--pick needs the simulated robot, not --image'),
    ):
        if is_wrong:
            parser.error(complaint)
    return options


def check(options: argparse.Namespace) -> None:
    """Look at what the options name, and put paths in place of texts.

    :raises UsageError: a file or folder that cannot be used, no such model, nothing that is asked.
    """
    for name in ('out', 'json', 'image'):
        value = getattr(options, name)
        if value is not None:
            if not value or '\0' in value:
                raise UsageError(f'--{name} needs a name')
            setattr(options, name, Path(value))
    if options.out is None:
        options.out = OUT if options.image is None else OUT_OF_PICTURES
    try:
        if options.ask is not None:
            validate_instruction(options.ask)
        # Another back-end has its own names for models.
        if options.image is not None or 'VR_ROS_WORKER_BACKEND' not in os.environ:
            load_card(options.model)
    except PerceptionError as error:
        raise UsageError(error.message) from error
    if options.image is not None:
        _check_picture(options.image)
    _make_folder(options.out)
    if options.json is not None:
        try:
            require_writable(options.json)
        except OSError as error:
            raise UsageError(
                f'--json {options.json} cannot be written: {_reason(error)}') from error


def _check_picture(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f'--image {path} is a folder: name one picture in it')
    if not path.exists():
        raise UsageError(f'--image {path}: there is no such file')


def _make_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise UsageError(f'--out {path} is a file, it has to be a folder')
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f'--out {path} cannot be made: {_reason(error)}') from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
