"""``./run train WHAT``: the recipes by name."""
from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

# Imported when called: the trainers need torch, this module does not.
RECIPES = {
    'data': 'vr_ros.training.data.command',
    'samples': 'vr_ros.training.data.samples',
    'sim_tiny': 'vr_ros.training.trainers.sim_tiny',
    'convert': 'vr_ros.training.adapters.convert',
    'difficulty': 'vr_ros.training.trainers.difficulty.command',
    'grpo': 'vr_ros.training.trainers.grpo.main',
    'router': 'vr_ros.training.router_fit',
    # Fits on answers of the whole pipeline, which the training knows nothing of.
    'scores': 'vr_ros.evaluation.scores.fit',
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a recipe.

    :return: 0 done, 2 bad usage.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in RECIPES:
        return importlib.import_module(RECIPES[given[0]]).main(given[1:])
    known = ', '.join(RECIPES)
    if given in (['-h'], ['--help']):
        print(f'usage: run train WHAT [OPTIONS]; WHAT is one of: {known}')
        return 0
    said = f'no recipe "{given[0]}"' if given else 'train what?'
    print(f'train: {said}; there are: {known}', file=sys.stderr)
    return 2


if __name__ == '__main__':
    raise SystemExit(main())
