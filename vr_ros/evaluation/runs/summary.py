"""What a run came to: its figures on the screen and in files."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vr_ros.core.types import Status, Task
from vr_ros.evaluation.claims import Claim, write_claims
from vr_ros.evaluation.failures import Kind, Verdict, by_question, confusion, judge
from vr_ros.evaluation.metrics.figures import ROUNDS, Figure, figures
from vr_ros.evaluation.metrics.measure import Measure
from vr_ros.evaluation.metrics.panel import image_groups, published_panel, strict_measures
from vr_ros.evaluation.runs.records import Record, Run

# Skipped samples on the screen; files name all.
LINES_SHOWN = 10


@dataclass(frozen=True)
class Examination:
    """Figures of its own, with aims, in place of those that every data set has.

    :param name: of the examination, before the names of its figures among the claims.
    :param measures: makes its figures from the records of what was answered.
    :param aims: by figure.
    :param seed: that its questions come from.
    """

    name: str
    measures: Callable[[Sequence[Record]], Sequence[Measure]]
    aims: Mapping[str, float]
    seed: int


@dataclass(frozen=True)
class Summary:
    """A run and its figures.

    :param figures: strict ones first; none where no sample was answered.
    :param records: the file that holds the answers; None: they were not kept.
    :param is_of_records: nothing was asked: seconds, and this machine, are not those of the run.
    :param examination: whose figures these are; None: those that every data set has.
    """

    run: Run
    figures: Sequence[Figure]
    records: Path | None
    seconds: float
    is_of_records: bool = False
    examination: Examination | None = None

    @classmethod
    def of(
        cls, run: Run, records: Path | None, seconds: float, rounds: int = ROUNDS,
        is_of_records: bool = False, examination: Examination | None = None,
    ) -> Summary:
        """Compute all figures, with their intervals over images.

        :param rounds: of the bootstrap.
        """
        truths, found = [r.truth for r in run.answered], [r.found for r in run.answered]
        if examination:
            measures = examination.measures(run.answered)
        else:
            measures = (strict_measures(truths, found) + published_panel(truths, found)
                        if found else [])
        return cls(run, figures(measures, image_groups(truths), rounds=rounds), records, seconds,
                   is_of_records, examination)

    @cached_property
    def verdicts(self) -> Sequence[Verdict]:
        """What became of each answered sample."""
        return [judge(r.truth, r.found, Task.__members__.get(r.task, Task.AUTO))
                for r in self.run.answered]

    @property
    def kinds(self) -> Counter[Kind]:
        """How many samples became what."""
        return Counter(verdict.kind for verdict in self.verdicts)

    @property
    def questions(self) -> list[tuple[str, Counter[Kind]]]:
        """What became of the samples of each kind of question, see by_question()."""
        return by_question([r.kind for r in self.run.answered], self.verdicts)

    @property
    def statuses(self) -> Counter[str]:
        """How many answers had which status."""
        return Counter(r.found.status.name for r in self.run.answered)

    @property
    def is_incomplete(self) -> bool:
        """Whether a sample is missing, was skipped, or got an error that is not the model's own
        wording."""
        return bool(self.run.missing or self.run.skipped) or any(
            Status[name].is_error and Status[name] is not Status.PARSE_ERROR
            for name in self.statuses)

    def show(self) -> None:
        """Print the table, and what did not go well."""
        run = self.run
        table = Table(title=f'{len(run.answered)} samples of {escape(run.header.dataset)}')
        aims = ('aim',) if self.examination else ()
        for column in ('figure', 'value', '95 % interval', *aims, 'of'):
            table.add_column(column, justify='left' if column == 'figure' else 'right')
        for figure in self.figures:
            aim = self._aim(figure)
            shown = ('' if aim is None else figure_text(aim, figure.unit),) if aims else ()
            table.add_row(figure.name, value_text(figure), interval_text(figure), *shown,
                          f'{figure.of:,}')
        console = Console()
        console.print(table)
        if run.missing:
            console.print(f'not finished: {run.missing} of {run.header.samples} samples missing')
        for record in run.skipped[:LINES_SHOWN]:
            console.print(f'skipped {record.sample_id}: {record.skipped}', markup=False)
        if len(run.skipped) > LINES_SHOWN:
            console.print(f'… {len(run.skipped)} samples skipped; --json names all')
        for name, count in self.statuses.items():
            if Status[name].is_error:
                console.print(f'{count} samples ended with {name}')
        if self.records:
            console.print(f'records: {self.records}', markup=False)

    def show_main_figure(self, name: str) -> None:
        """Print the one figure by which a data set is scored, apart from the table of all.

        :param name: of the figure; nothing is printed where it is empty, or nothing counted.
        """
        for figure in self.figures:
            if figure.name == name and figure.value is not None:
                interval = interval_text(figure)
                Console().print(f'main figure of this data set: {name} {value_text(figure)}'
                                + (f' ({interval})' if interval else ''), markup=False)

    def write_json(self, path: Path, **more: Any) -> None:
        """Write the figures as claims, and all that was skipped.

        :param more: what else it says beside the claims.
        :raises OSError: if the file cannot be written.
        """
        exam = self.examination
        before = f'{exam.name}: ' if exam else ''
        claims = [Claim(before + f.name, f.value, f.unit, self._aim(f), better=f.better,
                        reason='' if f.value is not None else 'nothing to count')
                  for f in self.figures]
        write_claims(path, claims, seed=exam.seed if exam else 0, seconds=self.seconds,
                     details={**self.details, **more})

    def _aim(self, figure: Figure) -> float | None:
        return self.examination.aims.get(figure.name) if self.examination else None

    @property
    def details(self) -> dict[str, Any]:
        """What the file of claims says beside them."""
        header = self.run.header
        return {
            'model': header.model, 'dataset': header.dataset, 'options': dict(header.options),
            'samples': header.samples, 'answered': len(self.run.answered),
            'missing': self.run.missing, 'is_of_records': self.is_of_records,
            'statuses': dict(self.statuses),
            'records': str(self.records) if self.records else None,
            'skipped': [{'id': r.sample_id, 'reason': r.skipped} for r in self.run.skipped],
            'figures': [asdict(figure) for figure in self.figures],
            'failures': self._failures,
            'questions': [
                {'question': name, 'samples': kinds.total(),
                 'became': {kind.value: kinds[kind] for kind in Kind if kinds[kind]}}
                for name, kinds in self.questions]}

    @property
    def _failures(self) -> list[dict[str, Any]]:
        """The table of failures: what came and what was true, with the samples but right ones."""
        return [
            {'kind': kind.value, 'situation': situation.value, 'number': len(places),
             'samples': None if kind is Kind.RIGHT else
             [self.run.answered[place].sample_id for place in places]}
            for (kind, situation), places in confusion(self.verdicts).items()]


def is_published(figure: Figure) -> bool:
    """Whether a figure is one of the published scripts: to compare with, not to trust."""
    return figure.name.startswith('published ')


def figure_text(value: float | None, unit: str) -> str:
    """Write a value as reports do."""
    if value is None:
        return '–'
    if unit == 'share':
        return f'{value:.3f}'
    if value == 0:
        return '0'
    return f'{value:,.0f}' if abs(value) >= 99.95 else f'{value:#.3g}'


def unit_of(figure: Figure) -> str:
    """Name a unit; a share has none."""
    return '' if figure.unit == 'share' else figure.unit


def value_text(figure: Figure) -> str:
    """Write a figure with its unit."""
    return f'{figure_text(figure.value, figure.unit)} {unit_of(figure)}'.strip()


def interval_text(figure: Figure) -> str:
    """Write a figure's interval; empty where it has none."""
    if figure.low is None:
        return ''
    return f'{figure_text(figure.low, figure.unit)} to {figure_text(figure.high, figure.unit)}'
