"""Tables in Markdown, whose texts are texts whatever is in them."""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# Whatever could make more of a text than a text, in a cell of a table.
_SPECIAL = re.compile(r'[\\`*\[\]<>&|~]|(?<!\w)_|_(?!\w)')


def plain(text: str) -> str:
    """Escape a text, on one line."""
    return _SPECIAL.sub(r'\\\g<0>', ' '.join(text.split()))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a table, each cell escaped.

    The first column is on the left, the others on the right where they are numbers: where there are
    three columns or more.
    """
    right = len(head) > 2
    yield _row(map(plain, head))
    yield _row(['---', *(['---:' if right else '---'] * (len(head) - 1))])
    yield from (_row(map(plain, row)) for row in rows)
    yield ''


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a file, and the folders that it lies in.

    :raises OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(('\n'.join(lines) + '\n').encode('utf-8', 'replace'))


def _row(cells: Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'
