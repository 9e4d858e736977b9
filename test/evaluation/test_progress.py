"""How far a run is, in a terminal and in a log."""
from __future__ import annotations

import io

import pytest
from rich.console import Console

from vr_ros.progress import LINE_EVERY_S, Meter


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_log_gets_a_line_now_and_then(clock):
    log = io.StringIO()
    with Meter(1000, 100, Console(file=log, width=80), clock) as meter:
        for _ in range(50):
            clock.now += LINE_EVERY_S / 10            # two samples in three seconds
            meter.advance(2)
    lines = log.getvalue().splitlines()
    assert lines[0] == 'samples: 120/1000, 0.667/s, 0:22:00 left'
    assert [line.split(',')[0] for line in lines] == [
        f'samples: {done}/1000' for done in (120, 140, 160, 180, 200, 200)]   # and the last word


@pytest.mark.parametrize(('steps', 'speed'), [
    ([], ''),                                             # nothing yet
    ([(5, 1)], '0.2/s, 0:00:35 left'),                    # all that there is to go by
    ([(60, 1), (5, 1)], '0.2/s, 0:00:30 left'),           # the first one waited for a model
    ([(60, 4), (2, 4)], '2/s, 0:00:00 left'),
])
def test_the_rate_is_that_of_answering(clock, steps, speed):
    meter = Meter(8, 0, Console(file=io.StringIO()), clock)
    for seconds, samples in steps:
        clock.now += seconds
        meter.advance(samples)
    assert meter.speed == speed


def test_a_terminal_gets_a_bar(clock):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    with Meter(10, 2, console, clock) as meter:
        clock.now += 10
        meter.advance(2)
        clock.now += 1
        meter.advance(3)
    assert '7/10 3/s, 0:00:01 left' in screen.getvalue().replace('\x1b[32m', '').replace(
        '\x1b[0m', '')


def test_a_run_with_nothing_left_says_nothing(clock):
    log = io.StringIO()
    with Meter(10, 10, Console(file=log), clock):
        pass
    assert log.getvalue() == ''
