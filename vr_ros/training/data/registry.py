"""Which sources there are: all modules of the package ``sources``, by the names in their BUILDERS.
"""
from __future__ import annotations

import importlib
import pkgutil

from vr_ros.training.data import sources
from vr_ros.training.data.source import Builder


def builders() -> dict[str, Builder]:
    """Give all builders by name, in alphabetical order.

    :raises ValueError: two have the same name.
    """
    found: dict[str, Builder] = {}
    for module in pkgutil.iter_modules(sources.__path__, f'{sources.__name__}.'):
        for name, builder in getattr(importlib.import_module(module.name), 'BUILDERS', {}).items():
            if name in found:
                raise ValueError(f'two sources are called "{name}"')
            found[name] = builder
    return dict(sorted(found.items()))
