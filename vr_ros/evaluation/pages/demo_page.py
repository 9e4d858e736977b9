"""One self-contained page about what was asked, seen and answered."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vr_ros.core.types import Perception, Status, Timing
from vr_ros.datasets.sample import size_of
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.detection import count_hits
from vr_ros.evaluation.pages.overlay import drawn, picture
from vr_ros.evaluation.pages.page import write_page
from vr_ros.evaluation.pages.words import comparison, label_words, said, true_words
from vr_ros.evaluation.totals import Ending, count_endings, is_right, median_ms


@dataclass(frozen=True)
class Case:
    """One instruction with what came of it.

    :param image: (H, W, 3) uint8 RGB that the answer is about; None: there was none.
    :param truth: None where nobody knows it.
    :param how: the way the instruction took, such as 'topic' or 'action'.
    :param kind: the sort of instruction, such as 'count_all'.
    """

    text: str
    perception: Perception
    image: np.ndarray | None = None
    truth: Truth | None = None
    how: str = ''
    kind: str = ''

    @property
    def ending(self) -> Ending:
        """What is true and what was found, as the evaluation has them."""
        return self.truth, Found.from_perception(self.perception)

    @property
    def is_right(self) -> bool | None:
        """Whether the answer is the true one; None where the truth is not known."""
        return is_right(*self.ending)

    @property
    def hits(self) -> int:
        """True objects that were found, one-to-one at IoU 0.5."""
        truth, found = self.ending
        if truth is None or truth.boxes is None:
            return 0
        return count_hits(truth.boxes, found.boxes)


@dataclass(frozen=True)
class Report:
    """A page.

    :param facts: what stands under the title, name by name: seed, model, versions.
    """

    title: str
    cases: Sequence[Case]
    facts: dict[str, Any] = field(default_factory=dict)

    def totals(self) -> dict[str, int]:
        """Count instructions by how they ended."""
        return count_endings(case.ending for case in self.cases)

    @property
    def median_ms(self) -> float | None:
        """Median of the total time of those answered, None where none was."""
        return median_ms(case.ending for case in self.cases)


def write_report(report: Report, path: Path) -> None:
    """Write the page as HTML: styles and pictures included, every text escaped.

    :raises OSError: when the file cannot be written.
    """
    has_true_boxes = any(
        case.image is not None and case.truth and case.truth.objects for case in report.cases)
    write_page(path, 'report.html.j2', {
        'title': report.title, 'facts': report.facts, 'totals': _totals(report),
        'cases': [_case(case) for case in report.cases],
        'layers': ('boxes', 'masks', 'points', *(['truth'] if has_true_boxes else ())),
        'hidden': ('truth',),
    })


def _totals(report: Report) -> list[tuple[str, str]]:
    totals = report.totals()
    known, middle_ms = totals['with known truth'], report.median_ms
    shown = [('instructions', str(totals['instructions'])), ('answered', str(totals['answered']))]
    if known:
        shown.append(('right', f'{totals["right"]} of {known}'))
    shown.append(('objects found', str(totals['objects found'])))
    if middle_ms is not None:
        shown.append(('median time', f'{middle_ms / 1e3:.1f} s'))
    return shown


def _case(case: Case) -> dict[str, Any]:
    perception, (truth, found) = case.perception, case.ending
    return {
        'text': case.text, 'words': [word for word in (case.kind, case.how) if word],
        'perception': perception,
        'task': perception.task.name.lower(),
        'status': perception.status.name, 'status_class': _status_class(perception.status),
        # That nothing was found may be right: it is no error.
        'message_class': _status_class(perception.status).replace('good', 'plain'),
        'verdict': {True: 'right', False: 'wrong', None: ''}[case.is_right],
        'answer': said(found), 'comparison': comparison(truth, found),
        'truth': truth and {'answer': true_words(truth), 'labels': label_words(truth)},
        'picture': _picture(case), 'no_picture': _no_picture(case),
        'objects': [drawn(detection, None if case.image is None else size_of(case.image))
                    for detection in perception.detections],
        'phases': _phases(perception.timing),
        'timing': [
            ('first token', perception.timing.first_token_ms),
            ('image age', perception.timing.image_age_ms), ('total', perception.timing.total_ms),
        ],
    }


def _no_picture(case: Case) -> str:
    if case.image is not None:
        return ''
    if case.perception.status.is_error:
        return 'no image took part'
    return 'the picture was lost on its way here'


def _phases(timing: Timing) -> list[dict[str, Any]]:
    """Divide the total time; the segmenter works alongside the reasoner, and after it."""
    parts = [('queue', timing.queue_ms), ('image', timing.preprocess_ms),
             ('reasoning', timing.generate_ms)]
    rest = timing.total_ms - sum(ms for _, ms in parts)
    parts.append(('masks and the rest', max(rest, 0.0)))
    whole = sum(ms for _, ms in parts) or 1.0
    return [{'name': name, 'ms': ms, 'share': round(100 * ms / whole, 2)} for name, ms in parts]


def _status_class(status: Status) -> str:
    if status.is_error:
        return 'bad'
    return 'good' if status in (Status.OK, Status.NO_OBJECT) else 'fair'


def _picture(case: Case) -> dict[str, Any] | None:
    if case.image is None:
        return None
    true = case.truth.objects if case.truth else ()
    return picture(size_of(case.image), case.image, case.perception.detections, true)
