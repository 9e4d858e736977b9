"""Scenes that hide something: found in small as full pictures show it."""
from __future__ import annotations

from itertools import islice

import pytest

from vr_ros.core.types import Size
from vr_ros.sim.hiding import hidden_objects, hiding_seeds
from vr_ros.sim.motion import MovingScene


@pytest.mark.parametrize('seed', [59, 3])
def test_what_is_hidden_shows_in_hardly_any_full_picture(seed):
    found = hidden_objects(seed, 24, 10.0)
    frames = list(MovingScene(seed, 24, 10.0, Size(256, 192)))
    first = {o.id: o.visible_fraction for o in frames[0].truth.objects}
    least = {
        i: sorted(next((o.visible_fraction for o in frame.truth.objects if o.id == i), 0.0)
                  for frame in frames)[:2]
        for i in first
    }
    for i, fraction in first.items():
        if i in found:
            assert fraction > 0.5
            assert max(least[i]) < 0.05
        elif fraction > 0.7:
            assert max(least[i]) > 0
    assert bool(found) == (seed == 59)


def test_seeds_are_those_whose_scenes_hide_something():
    seeds = list(islice(hiding_seeds(50, 24, 10.0), 2))
    assert seeds == sorted(set(seeds))
    assert seeds == [s for s in range(50, seeds[-1] + 1) if hidden_objects(s, 24, 10.0)]
