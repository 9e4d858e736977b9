"""Rewrite paths in the CMake files of the ROS 2 wheels: the build machine's to this environment's.

The wheels were built against the Python in /opt/python/cpXY-cpXY. Three paths of it are baked into
the exported CMake targets, under <prefix>/share; with them, generated interfaces do not compile.
Run with the environment's own Python; running it again changes nothing.
"""
from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

CONTAINER = r'/opt/python/cp\d+-cp\d+'


def replacements(prefix: Path) -> list[tuple[re.Pattern[str], str]]:
    """Pair each baked path with the path that holds here, longest first.

    The last is a prefix of the others, so the order matters.

    :param prefix: root of the virtual environment.
    :return: patterns and the text that takes their place.
    """
    python = r'python3\.\d+'
    numpy = f'{CONTAINER}/lib/{python}/site-packages/numpy/_core/include'
    return [
        (re.compile(numpy), np.get_include()),
        (re.compile(f'{CONTAINER}/include/{python}'), sysconfig.get_paths()['include']),
        (re.compile(CONTAINER), str(prefix)),
    ]


def fix_tree(prefix: Path) -> int:
    """Rewrite every CMake file below <prefix>/share.

    :param prefix: root of the virtual environment.
    :return: number of files changed.
    """
    pairs = replacements(prefix)
    changed = 0
    for path in sorted((prefix / 'share').rglob('*.cmake')):
        before = path.read_text(encoding='utf-8')
        after = before
        for pattern, path_here in pairs:
            after = pattern.sub(lambda _, text=path_here: text, after)
        if after != before:
            path.write_text(after, encoding='utf-8')
            changed += 1
    return changed


if __name__ == '__main__':
    print(f'{fix_tree(Path(sys.prefix))} CMake files rewritten')
