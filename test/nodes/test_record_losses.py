"""What is missing between messages, counted."""
from __future__ import annotations

import pytest

from vr_ros.nodes.bags.losses import Losses


@pytest.mark.parametrize(('events', 'lost'), [
    ('1 2 3', 0),               # all there
    ('57 58', 0),               # who comes late misses nothing that was promised
    ('1 4 5 9', 5),             # 2 3, 6 7 8
    ('1 2 m1 1 2', 0),          # another publisher in place of the first
    ('5 m1 400 402', 1),        # one that has been there for long
    ('1 m2 7 2 8 3', 0),        # two of them: their numbers interleave
    ('1 m2 7 2 l3 8', 3),       # then the middleware has to say
    ('1 3 l1', 1),              # it says again what the gap has shown
    ('l4 5 6', 0),              # what was lost before the first message was never ours
    ('- l2 - l1', 3),           # a middleware without numbers
    ('1 m2 5 m1 9 11', 1),      # alone again
])
def test_losses(events: str, lost: int) -> None:
    losses = Losses()
    for event in events.split():
        if event[0] == 'm':
            losses.on_matched(int(event[1:]))
        elif event[0] == 'l':
            losses.on_lost(int(event[1:]))
        else:
            losses.on_message(None if event == '-' else int(event))
    assert losses.count == lost
