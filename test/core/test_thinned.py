"""A stream thinned to a few items."""
from __future__ import annotations

import pytest

from vr_ros.core.thinned import Thinned


@pytest.mark.parametrize('limit', [2, 3, 5, 16])
def test_few_stay_the_newest_among_them_and_evenly(limit: int) -> None:
    kept: Thinned[int] = Thinned(limit)
    for number in range(1000):
        kept.append(number)
        items = list(kept)
        assert len(items) == len(kept) <= limit
        assert items[0] == 0 and items[-1] == number == max(items)
        assert items == sorted(set(items))
        # Apart from the newest, all are the same distance from each other.
        assert len({b - a for a, b in zip(items[:-2], items[1:-1], strict=True)}) <= 1
        if number >= limit:
            assert len(items) > limit // 2


def test_all_are_there_while_they_are_few() -> None:
    kept: Thinned[str] = Thinned(4)
    for letter in 'abcd':
        kept.append(letter)
    assert list(kept) == list('abcd')
    kept.clear()
    kept.append('z')
    assert list(kept) == ['z']


def test_one_is_too_few() -> None:
    with pytest.raises(ValueError, match='at least 2'):
        Thinned(1)
