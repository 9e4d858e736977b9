"""Which cases of a run are shown, and what is shown of each."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np

from vr_ros.core.rle import rle_area, rle_box
from vr_ros.core.types import Detection, Mask, Size, Status
from vr_ros.datasets.sample import DataSet, SampleError, size_of
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.failures import Kind, Situation, Verdict
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.overlap import box_overlaps, mask_overlaps
from vr_ros.evaluation.pages.overlay import drawn, picture
from vr_ros.evaluation.pages.words import comparison, label_words, said, true_words
from vr_ros.evaluation.runs.records import Record

_log = logging.getLogger(__name__)

# Of pictures on the page, the longer side; a page has to stay small enough to be sent.
SIDE_PX = 640
MAX_OBJECTS = 30
MAX_TEXT = 4000
_LABEL_TEXT = 80

# Gives the image of a sample by its id; raises SampleError.
Pictures = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Group:
    """Cases that are shown together.

    :param criterion: by which they were chosen, in words.
    :param places: of the samples.
    """

    title: str
    criterion: str
    places: tuple[int, ...]


def pictures_of(data_set: DataSet) -> Pictures:
    """Read images from a data set."""
    places = {sample_id: place for place, sample_id in enumerate(data_set.ids)}

    def read(sample_id: str) -> np.ndarray:
        if sample_id not in places:
            raise SampleError('the data set has no such sample any more')
        return data_set.load(places[sample_id]).image

    return read


def groups(verdicts: Sequence[Verdict], limit: int) -> list[Group]:
    """Choose cases; groups without any are left out.

    :param limit: of cases in a group.
    """
    def where(fits: Callable[[Verdict], bool], sign: int = 1) -> list[int]:
        return sorted((place for place, verdict in enumerate(verdicts) if fits(verdict)),
                      key=lambda place: sign * verdicts[place].quality)

    worst = [where(lambda v, kind=kind: v.kind is kind) for kind in Kind if kind.is_failure]
    best = [where(lambda v, s=situation: v.kind is Kind.RIGHT and v.situation is s, sign=-1)
            for situation in Situation]
    found = [
        Group('Worst', 'in turn from each kind of failure, lowest quality first',
              _in_turn(worst, limit)),
        Group('Best', 'right ones, in turn from each situation, highest quality first',
              _in_turn(best, limit)),
        Group('Not judged', 'the first ones whose truth is not known',
              _in_turn([where(lambda v: v.kind is Kind.UNKNOWN)], limit)),
    ]
    return [group for group in found if group.places]


def card(
    record: Record, verdict: Verdict, pictures: Pictures | None
) -> dict[str, Any]:
    """Prepare an answered sample for the macros of the templates.

    :param pictures: None: images are not at hand.
    """
    truth, found = record.truth, record.found
    image, trouble = _image(record.sample_id, truth, pictures)
    size = truth.size if truth.size.width else size_of(image) if image is not None else None
    objects = [_object(place, truth, found, size) for place in range(len(found.boxes))]
    shown = objects[:MAX_OBJECTS]
    return {
        'id': record.sample_id, 'kind': verdict.kind.value, 'tone': tone(verdict.kind),
        'words': [word for word in (record.kind, record.task.lower()) if word],
        'status': found.status.name, 'is_error': found.status.is_error,
        'text': clipped(record.instruction), 'message': clipped(record.message),
        'answer': clipped(said(found)), 'comparison': comparison(truth, found),
        'truth': {'answer': clipped(true_words(truth)),
                  'labels': [clipped(label, _LABEL_TEXT) for label in label_words(truth)]},
        'raw': clipped(found.raw_text or found.reasoning),
        'quality': '' if verdict.kind is Kind.UNKNOWN else f'{verdict.quality:.2f}',
        'latency_ms': found.latency_ms, 'no_picture': trouble,
        'picture': size and picture(
            size, image, [o for o, _ in shown], _true_objects(truth, size), SIDE_PX,
            _fitting(truth.ignore, size)),
        'objects': [drawn(o, size) | columns for o, columns in shown],
        'more_objects': len(objects) - len(shown),
    }


def tone(kind: Kind) -> str:
    """Name the colour of a kind: a class of the style sheet."""
    return 'good' if kind is Kind.RIGHT else 'bad' if kind.is_failure else 'plain'


def clipped(text: str, limit: int = MAX_TEXT) -> str:
    """Shorten a text, and say by how much."""
    if len(text) <= limit:
        return text
    return f'{text[:limit]} … {len(text) - limit:,} more characters'


def _in_turn(lists: Iterable[Sequence[int]], limit: int) -> tuple[int, ...]:
    """Take the first of each, then the second of each, and so on."""
    rounds = chain.from_iterable(zip_longest(*lists))
    return tuple(islice((place for place in rounds if place is not None), limit))


def _image(
    sample_id: str, truth: Truth, pictures: Pictures | None
) -> tuple[np.ndarray | None, str]:
    """:return: the image, or None and why there is none."""
    if pictures is None:
        return None, 'the data set is not at hand: --dataset shows its pictures'
    try:
        image = pictures(sample_id)
    except SampleError as error:
        return None, f'the picture cannot be read any more: {error}'
    except Exception as error:
        _log.exception('picture of sample %s', sample_id)
        return None, f'the picture cannot be read any more: {type(error).__name__}: {error}'
    if truth.size.width and size_of(image) != truth.size:
        return None, (f'another picture than then: {image.shape[1]} × {image.shape[0]},'
                      f' not {truth.size.width} × {truth.size.height} px')
    return image, ''


def _object(
    place: int, truth: Truth, found: Found, size: Size | None
) -> tuple[Detection, dict[str, str]]:
    """:return: an object, and how far it covers the true one that it covers most."""
    one = Found(Status.OK, found.boxes[place:place + 1], found.masks[place:place + 1])
    columns = {'box_iou': box_overlaps(truth, one), 'mask_iou': mask_overlaps(truth, one)}
    if found.masks[place] is None:
        columns['mask_iou'] = None
    mask = _fitting(found.masks[place], size)
    return Detection(
        place, tuple(found.boxes[place].tolist()), score=float(found.scores[place]), mask=mask,
        area_px=rle_area(mask) if mask else 0,
    ), {name: f'{overlaps.iou.max(initial=0):.2f}' if overlaps and len(overlaps.iou) else ''
        for name, overlaps in columns.items()}


def _true_objects(truth: Truth, size: Size) -> list[Detection]:
    known = truth.boxes if truth.boxes is not None else truth.masks
    number = 0 if known is None else len(known)
    masks: list[Mask | None] = list(truth.masks or [None] * number)
    boxes = [None] * number if truth.boxes is None else truth.boxes.tolist()
    if truth.region is not None:
        masks.append(truth.region)
        boxes.append(None)
    pairs = [(box or (mask and rle_box(mask)), mask)
             for box, mask in zip(boxes, masks, strict=True)]
    return [Detection(i, tuple(map(float, box)), mask=_fitting(mask, size))
            for i, (box, mask) in enumerate(pairs[:MAX_OBJECTS]) if box]


def _fitting(mask: Mask | None, size: Size | None) -> Mask | None:
    return mask if mask and mask.size == size else None

