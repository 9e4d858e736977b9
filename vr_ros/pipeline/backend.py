"""Where the worker finds what answers: `module:attribute`, or `path/to/file.py:attribute`."""
from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

DEFAULT_BACKEND = 'vr_ros.pipeline.perceiver:Perceiver.from_card'


def make_backend(spec: str) -> Callable[..., Any]:
    """Return the factory that a specification names; called as factory(card, **options).

    What it makes has perceive(), model_id and close() as Perceiver has them.

    :raises ValueError: the specification has no attribute, or names a file that is no module.
    :raises ImportError: the module cannot be imported.
    :raises AttributeError: the module lacks the attribute.
    """
    module_name, _, attribute = spec.rpartition(':')
    if not module_name or not attribute:
        raise ValueError(f'back-end {spec!r} is not of the form module:attribute')
    path = Path(module_name)
    module = _load_file(path) if path.suffix == '.py' else importlib.import_module(module_name)
    factory: Callable[..., Any] = reduce(getattr, attribute.split('.'), module)
    return factory


def _load_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f'{path} is no Python module')
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
