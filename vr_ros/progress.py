"""How far a run is, how fast, and how long it will take: a bar, or lines where no one can see it.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

# Between two lines in a log.
LINE_EVERY_S = 30.0


class Meter:
    """Shows samples, or what else is counted, as they are done; to be used as a context.

    The rate is that of this run: what an earlier one did does not count. Nor does the time until
    the first answers, when models are loaded, as soon as there are others to go by.

    :param total: of all samples.
    :param done: how many of them an earlier run did.
    :param console: where; None: standard error.
    :param clock: seconds.
    :param what: is counted.
    """

    def __init__(
        self, total: int, done: int = 0, console: Console | None = None,
        clock: Callable[[], float] = time.monotonic, what: str = 'samples',
    ) -> None:
        self._total, self._done, self._clock = total, done, clock
        self._console, self._what = console or Console(stderr=True), what
        # Times, and what was done by then: the beginning, and after the first answers.
        self._marks = [(clock(), done)]
        self._said = self._marks[0][0]
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn(what), BarColumn(), MofNCompleteColumn(), _Speed(self),
                console=self._console)
            self._task = self._bar.add_task(what, total=total, completed=done)

    def __enter__(self) -> Meter:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *unused: object) -> None:
        if self._bar:
            self._bar.stop()
        elif len(self._marks) > 1:
            self._say()

    def advance(self, samples: int) -> None:
        """Count samples that are done now."""
        self._done += samples
        now = self._clock()
        if len(self._marks) == 1:
            self._marks.append((now, self._done))
        if self._bar:
            self._bar.advance(self._task, samples)
        elif now - self._said >= LINE_EVERY_S:
            self._say()

    @property
    def rate(self) -> float:
        """Samples per second; 0 before the first."""
        now = self._clock()
        for since, done in reversed(self._marks):
            if self._done > done and now > since:
                return (self._done - done) / (now - since)
        return 0.0

    @property
    def speed(self) -> str:
        """Say how fast it goes, and how long the rest will take."""
        rate = self.rate
        if not rate:
            return ''
        left = timedelta(seconds=round((self._total - self._done) / rate))
        return f'{rate:.3g}/s, {left} left'

    def _say(self) -> None:
        self._said = self._clock()
        self._console.print(
            f'{self._what}: {self._done}/{self._total}, {self.speed}', highlight=False)


class _Speed(ProgressColumn):
    """Speed and time left, as the lines say them."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def render(self, task: Task) -> Text:
        """Give the words; rich asks for them when it draws."""
        return Text(self._meter.speed)
