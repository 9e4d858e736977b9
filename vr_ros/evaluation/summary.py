"""What a run came to: its figures on the screen and in files."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vr_ros.core.types import Status
from vr_ros.evaluation.claims import Claim, write_claims
from vr_ros.evaluation.metrics.figures import ROUNDS, Figure, figures
from vr_ros.evaluation.metrics.panel import image_groups, published_panel, strict_measures
from vr_ros.evaluation.records import Run

# Skipped samples on the screen; files name all.
LINES_SHOWN = 10


@dataclass(frozen=True)
class Summary:
    """A run and its figures.

    :param figures: strict ones first; none where no sample was answered.
    :param records: the file that holds the answers; None: they were not kept.
    """

    run: Run
    figures: Sequence[Figure]
    records: Path | None
    seconds: float

    @classmethod
    def of(cls, run: Run, records: Path | None, seconds: float, rounds: int = ROUNDS) -> Summary:
        """Compute all figures, with their intervals over images.

        :param rounds: of the bootstrap.
        """
        truths, found = [r.truth for r in run.answered], [r.found for r in run.answered]
        measures = strict_measures(truths, found) + published_panel(truths, found) if found else []
        return cls(run, figures(measures, image_groups(truths), rounds=rounds), records, seconds)

    @property
    def statuses(self) -> Counter[str]:
        """How many answers had which status."""
        return Counter(r.found.status.name for r in self.run.answered)

    @property
    def is_incomplete(self) -> bool:
        """Whether a sample was skipped, or got an error that is not the model's own wording."""
        return bool(self.run.skipped) or any(
            Status[name].is_error and Status[name] is not Status.PARSE_ERROR
            for name in self.statuses)

    def show(self) -> None:
        """Print the table, and what did not go well."""
        run = self.run
        table = Table(title=f'{len(run.answered)} samples of {escape(run.header.dataset)}')
        for column in ('figure', 'value', '95 % interval', 'of'):
            table.add_column(column, justify='left' if column == 'figure' else 'right')
        for figure in self.figures:
            unit = '' if figure.unit == 'share' else f' {figure.unit}'
            interval = '' if figure.low is None else f'{figure.low:.4g} to {figure.high:.4g}'
            value = '-' if figure.value is None else f'{figure.value:.4g}{unit}'
            table.add_row(figure.name, value, interval, str(figure.of))
        Console().print(table)
        self.show_troubles()

    def show_troubles(self) -> None:
        """Print what was skipped, what got an error, and where the records are."""
        console, run = Console(), self.run
        for record in run.skipped[:LINES_SHOWN]:
            console.print(f'skipped {record.sample_id}: {record.skipped}', markup=False)
        if len(run.skipped) > LINES_SHOWN:
            console.print(f'… {len(run.skipped)} samples skipped; --json names all')
        for name, count in self.statuses.items():
            if Status[name].is_error:
                console.print(f'{count} samples ended with {name}')
        if self.records:
            console.print(f'records: {self.records}', markup=False)

    def write_json(self, path: Path, **more: Any) -> None:
        """Write the figures as claims, and all that was skipped.

        :param more: what else it says beside the claims.
        :raises OSError: if the file cannot be written.
        """
        claims = [Claim(f.name, f.value, f.unit, better=f.better,
                        reason='' if f.value is not None else 'nothing to count')
                  for f in self.figures]
        write_claims(path, claims, seed=0, seconds=self.seconds,
                     details={**self.details, **more})

    @property
    def details(self) -> dict[str, Any]:
        """What the file of claims says beside them."""
        header = self.run.header
        return {
            'model': header.model, 'dataset': header.dataset, 'options': dict(header.options),
            'samples': header.samples, 'answered': len(self.run.answered),
            'statuses': dict(self.statuses),
            'records': str(self.records) if self.records else None,
            'skipped': [{'id': r.sample_id, 'reason': r.skipped} for r in self.run.skipped],
            'figures': [asdict(figure) for figure in self.figures]}
