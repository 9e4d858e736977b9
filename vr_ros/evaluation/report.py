"""One self-contained page about what was asked, seen and answered."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from vr_ros.core.types import Detection, Perception, Size, Status, Task
from vr_ros.evaluation.overlay import colour_hex, jpeg_uri, mask_layer, png_uri
from vr_ros.evaluation.scores import box_array, count_hits, normalise_answer


@dataclass(frozen=True)
class Truth:
    """The true answer to one instruction about one frame."""

    task: Task
    detections: tuple[Detection, ...] = ()
    answer: str = ''


@dataclass(frozen=True)
class Case:
    """One instruction with what came of it.

    :param image: (H, W, 3) uint8 RGB that the answer is about; None: there was none.
    :param truth: None where nobody knows it.
    :param how: the way the instruction took, such as 'topic' or 'action'.
    """

    text: str
    perception: Perception
    image: np.ndarray | None = None
    truth: Truth | None = None
    how: str = ''

    @property
    def is_right(self) -> bool | None:
        """Whether the answer is the true one: the same words, or as many objects, each hit at
        IoU 0.5; None where the truth is not known."""
        if self.truth is None:
            return None
        if self.truth.task is Task.VQA:
            return normalise_answer(self.perception.answer) == normalise_answer(self.truth.answer)
        wanted = len(self.truth.detections)
        return self.perception.count == wanted == self.hits

    @property
    def hits(self) -> int:
        """True objects that were found, one-to-one at IoU 0.5."""
        if self.truth is None:
            return 0
        return count_hits(
            box_array(self.truth.detections), box_array(self.perception.detections)
        )


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
        known = [case for case in self.cases if case.is_right is not None]
        return {
            'instructions': len(self.cases),
            'answered': sum(not case.perception.status.is_error for case in self.cases),
            'with known truth': len(known),
            'right': sum(bool(case.is_right) for case in known),
            'objects found': sum(len(case.perception.detections) for case in self.cases),
        }


def write_report(report: Report, path: Path) -> None:
    """Write the page as HTML: styles and pictures included, every text escaped.

    :raises OSError: when the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('vr_ros.evaluation'), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    page = environment.get_template('report.html.j2').render(
        title=report.title, facts=report.facts, totals=report.totals(),
        cases=[_case(case) for case in report.cases],
    )
    path.write_text(page, encoding='utf-8')


def _case(case: Case) -> dict[str, Any]:
    perception = case.perception
    return {
        'text': case.text, 'how': case.how, 'perception': perception,
        'task': perception.task.name.lower(),
        'status': perception.status.name, 'status_class': _status_class(perception.status),
        'verdict': {True: 'right', False: 'wrong', None: ''}[case.is_right],
        'picture': _picture(case), 'truth': case.truth and _truth(case),
        'objects': [_object(found) for found in perception.detections],
        'timing': [
            ('image age', perception.timing.image_age_ms), ('queue', perception.timing.queue_ms),
            ('first token', perception.timing.first_token_ms),
            ('generate', perception.timing.generate_ms),
            ('segment', perception.timing.segment_ms), ('total', perception.timing.total_ms),
        ],
    }


def _status_class(status: Status) -> str:
    if status.is_error:
        return 'bad'
    return 'good' if status in (Status.OK, Status.NO_OBJECT) else 'fair'


def _picture(case: Case) -> dict[str, Any] | None:
    if case.image is None:
        return None
    height, width = case.image.shape[:2]
    masks = mask_layer(case.perception.detections, Size(width, height))
    return {
        'width': width, 'height': height, 'photo': jpeg_uri(case.image),
        'masks': png_uri(masks) if masks.any() else '',
        'truth': [_rectangle(found) for found in case.truth.detections] if case.truth else [],
    }


def _object(found: Detection) -> dict[str, Any]:
    return {
        **_rectangle(found), 'index': found.index, 'colour': colour_hex(found.index),
        'point': found.point, 'label': found.label,
        'area_px': found.area_px if found.mask else None,
    }


def _rectangle(found: Detection) -> dict[str, float]:
    x_min, y_min, x_max, y_max = found.box
    return {'x': x_min, 'y': y_min, 'width': x_max - x_min, 'height': y_max - y_min}


def _truth(case: Case) -> dict[str, Any]:
    truth = case.truth
    assert truth is not None
    return {
        'answer': truth.answer if truth.task is Task.VQA else '',
        'count': len(truth.detections), 'is_text': truth.task is Task.VQA, 'hits': case.hits,
        'labels': [found.label for found in truth.detections if found.label],
    }
