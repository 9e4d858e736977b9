"""The entry of ``./run train grpo``: says what is missing before anything large is imported."""
from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

NEEDED = ('trl', 'peft', 'accelerate', 'datasets')


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as :func:`.command.main` does.

    :return: 2 where TRL is not installed, with one line what to do.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f'train grpo: {", ".join(missing)} not installed: start it by ./run train grpo, or'
              " pip install 'vr_ros[train]'", file=sys.stderr)
        return 2
    from vr_ros.training.trainers.grpo import command

    return command.main(arguments)
