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


def claim(folder: Path, settings: Mapping[str, Any], *, fresh: bool) -> Path | None:
    """Take a folder for a run.

    :param settings: what must be the same for a run to go on there.
    :param fresh: remove what is there of another run.
    :return: the checkpoint from which it goes on.
    :raises SettingsError: it holds a run with other settings, or cannot be written to.
    """
    try:
        if fresh:
            _begin_anew(folder)
        checkpoint = last_checkpoint(folder)
        _remember(folder, settings, goes_on=checkpoint is not None)
    except OSError as error:
        raise SettingsError(f'--out {folder}: {error.strerror or error}') from error
    return checkpoint


def _begin_anew(folder: Path) -> None:
    """Remove a run's checkpoints and its settings; all else in the folder stays."""
    for path in folder.glob(f'{PREFIX_CHECKPOINT_DIR}-*'):
        shutil.rmtree(path)
    (folder / SETTINGS).unlink(missing_ok=True)


def _remember(folder: Path, settings: Mapping[str, Any], *, goes_on: bool) -> None:
    """Write down what a run was begun with, or compare with it.

    :param goes_on: there are checkpoints to go on from.
    """
    path = folder / SETTINGS
    now = json.loads(json.dumps(settings, default=str))
    if goes_on and path.is_file():
        for key, value in _read(path).items():
            # Versions before this one wrote down less: what is not there counts as the same.
            if key in now and value != now[key]:
                name = f'--{key.replace("_", "-")}'
                what = (f'another {name}' if dict in map(type, (value, now[key])) else
                        f'{name} {value}, not {now[key]}')
                raise SettingsError(
                    f'{folder} holds a run with {what}: give another --out, or --fresh')
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(now, indent=1), encoding='utf-8')
    os.replace(temporary, path)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise SettingsError(f'{path} is damaged: give another --out, or --fresh') from error
    if not isinstance(content, dict):
        raise SettingsError(f'{path} is damaged: give another --out, or --fresh')
    return content
