"""A bounded memory of an endless stream, evenly thinned."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar('T')


class Thinned(Generic[T]):
    """The items of a stream, at most a certain number of them, about evenly spaced.

    When they become too many, every second one goes, and from then on only every second one is
    taken up. The newest is always there.

    :param limit: most items kept, at least 2.
    """

    def __init__(self, limit: int) -> None:
        if limit < 2:
            raise ValueError(f'a thinned stream keeps at least 2 items, not {limit}')
        self._limit = limit
        self._items: list[T] = []
        self._stride, self._seen = 1, 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._items))

    def append(self, item: T) -> None:
        """Take an item up; it replaces the last one if that was only there as the newest."""
        if self._items and (self._seen - 1) % self._stride:
            self._items[-1] = item
        else:
            self._items.append(item)
        self._seen += 1
        if len(self._items) > self._limit:
            # The newest stays on the grid or on top of it, as its number says.
            newest, self._items = self._items[-1], self._items[:-1:2]
            self._stride *= 2
            self._items.append(newest)

    def clear(self) -> None:
        """Begin anew."""
        self._items.clear()
        self._stride, self._seen = 1, 0
