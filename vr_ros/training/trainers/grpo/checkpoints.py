"""Where an interrupted run goes on, and that it is the same run."""
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

# Written last into a checkpoint.
STATE = 'trainer_state.json'
SETTINGS = 'settings.json'


class SettingsError(ValueError):
    """A folder holds checkpoints of another run; the message says what is different."""


def last_checkpoint(folder: Path) -> Path | None:
    """Give the newest complete checkpoint; one whose writing was interrupted is none."""
    found: dict[int, Path] = {}
    for path in folder.glob(f'{PREFIX_CHECKPOINT_DIR}-*'):
        step = path.name.rpartition('-')[2]
        if step.isdigit() and is_complete(path):
            found[int(step)] = path
    return found[max(found)] if found else None


def is_complete(checkpoint: Path) -> bool:
    """Tell whether all of a checkpoint was written."""
    try:
        json.loads((checkpoint / STATE).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return False
    return True


def begin_anew(folder: Path) -> None:
    """Remove a run's checkpoints and its settings; all else in the folder stays."""
    for path in folder.glob(f'{PREFIX_CHECKPOINT_DIR}-*'):
        shutil.rmtree(path)
    (folder / SETTINGS).unlink(missing_ok=True)


def remember_settings(folder: Path, settings: Mapping[str, Any], *, goes_on: bool) -> None:
    """Write down what a run was begun with, or compare with it.

    :param goes_on: there are checkpoints to go on from.
    :raises SettingsError: they are of a run with other settings.
    """
    path = folder / SETTINGS
    now = json.loads(json.dumps(settings, default=str))
    if goes_on and path.is_file():
        before = json.loads(path.read_text(encoding='utf-8'))
        changed = sorted(key for key in now if before.get(key) != now[key])
        if changed:
            key = changed[0]
            raise SettingsError(
                f'{folder} holds a run with --{key.replace("_", "-")} {before.get(key)}, not '
                f'{now[key]}: give another --out, or --fresh')
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(now, indent=1), encoding='utf-8')
    os.replace(temporary, path)
