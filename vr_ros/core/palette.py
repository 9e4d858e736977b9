"""The colours in which objects are drawn, the same on every picture, page and marker."""
from __future__ import annotations

import colorsys


def colour(number: int) -> tuple[int, int, int]:
    """Choose the colour of the number-th object: neighbours in number lie far apart in hue.

    :return: RGB, 0..255.
    """
    hue = (0.58 + number * 0.61803398875) % 1.0  # steps of the golden ratio
    red, green, blue = colorsys.hls_to_rgb(hue, 0.55, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def colour_hex(number: int) -> str:
    """:return: the same colour as ``#rrggbb``."""
    return '#{:02x}{:02x}{:02x}'.format(*colour(number))
