"""What a misspelt name most likely stands for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Find the known name that is most like a misspelt one.

    :return: '' when none is close.
    """
    return next(iter(difflib.get_close_matches(name, list(known), 1, 0.6)), '')
