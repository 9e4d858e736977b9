"""One template per form and task: what can be asked, with all its wordings."""

from __future__ import annotations

from dataclasses import dataclass

from vr_ros.core.types import Task
from vr_ros.sim.queries import Form
from vr_ros.sim.wordings import (
    COUNT_FRAMES,
    COUNT_NOUNS,
    DETECT_FRAMES,
    DIRECT,
    LOCATION_NOUNS,
    SEGMENT_FRAMES,
    VQA,
)

SPLITS = ('train', 'heldout')


@dataclass(frozen=True)
class Template:
    """One kind of instruction for one task.

    :param wordings: split -> groups of patterns; a group is drawn first, then a pattern in it.
    """

    name: str
    form: Form
    task: Task
    wordings: dict[str, tuple[tuple[str, ...], ...]]


def _expand(frames: tuple[str, ...], nouns: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(
        frame.replace('{np}', noun).replace('{be}', be) for frame in frames for noun, be in nouns
    )


def _framed(
    name: str,
    task: Task,
    form: Form,
    frames: dict[str, tuple[str, ...]],
    nouns: tuple[tuple[str, str], ...],
) -> Template:
    direct = DIRECT.get((form, task), {})
    return Template(
        name,
        form,
        task,
        {
            split: (_expand(frames[split], nouns), *([direct[split]] if direct else []))
            for split in SPLITS
        },
    )


def _all_templates() -> list[Template]:
    found = []
    for form, nouns in LOCATION_NOUNS.items():
        found.append(_framed(f'detect_{form.value}', Task.DETECTION, form, DETECT_FRAMES, nouns))
        found.append(
            _framed(f'segment_{form.value}', Task.SEGMENTATION, form, SEGMENT_FRAMES, nouns)
        )
    for form, nouns in COUNT_NOUNS.items():
        found.append(_framed(f'count_{form.value}', Task.COUNTING, form, COUNT_FRAMES, nouns))
    for form, wordings in VQA.items():
        found.append(
            Template(
                f'vqa_{form.value}', form, Task.VQA, {split: (wordings[split],) for split in SPLITS}
            )
        )
    return found


TEMPLATES: dict[str, Template] = {template.name: template for template in _all_templates()}
