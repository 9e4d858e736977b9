"""Types of options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def number_from(low: int, high: int | None = None) -> Callable[[str], int]:
    """Make the type of an option that is a whole number in a range, both ends in it."""
    def number(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            reach = f'from {low} on' if high is None else f'from {low} to {high}'
            raise argparse.ArgumentTypeError(f'{text} is not {reach}')
        return value

    return number
