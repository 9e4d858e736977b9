"""How sure a model was of each object that it named: features that cost nothing, and their fusion.

VisionReasoner gives no confidence. What it wrote was drawn from probabilities, and the segmenter
judges its own masks: from these come features, one number per object, NaN where they say nothing.
A model that reasons writes its boxes more than once; copying is certain, so what counts is where a
box was written first.
"""
from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

from vr_ros.core.geometry import box_area, box_iou_matrix
from vr_ros.core.types import NAN, Detection, ParsedObject, Size
from vr_ros.core.written import Written, list_start

Features = Mapping[str, np.ndarray]

# What each feature is; those of FREE come with every answer, the others when asked for.
FREE = {
    'tokens': 'mean log-probability of the tokens of the box, where it was first written',
    'copy': 'the same where the answer has it, if the reasoning had it before',
    'spread': 'log of the standard deviation of its numbers, as a share of its edges',
    'margin': 'log-odds of another object against the end, where it was begun',
    'repeat': 'IoU with the box of the reasoning that is most like it',
    'choice': 'log-probability of the least sure token between what stood before and its numbers',
    'claim': 'log-probability of the clause of the reasoning that speaks of it',
    'contradiction': '1 where it is said to be what was not looked for: red for green; else 0',
    'opening': "log-probability of the reasoning's first clauses, to its first full stop",
    'doubt': 'log-probability of all words of the reasoning',
    'objects': 'log of the number of objects in the answer',
    'area': 'log of the share of the image that the box covers',
    'mask_iou': "the segmenter's own estimate of its mask's IoU",
    'agreement': 'IoU of the box and the box around its mask',
}
COSTLY = {
    'existence': 'log-odds of yes against no when asked whether it is there',
    'consistency': 'mean IoU with its counterparts in answers drawn by chance, 0 without one',
}
# 1 for what the answer names, 0 for what only answers drawn by chance name.
OWN = 'own'
FEATURES = {**FREE, **COSTLY, OWN: '1 for what the answer names, 0 for what others alone name'}
# Less alike, a box of the reasoning is that of another object.
SAME_OBJECT = 0.5
# Log-odds further out are alike.
MOST_ODDS = 14.0


@dataclass(frozen=True)
class Term:
    """One feature of a fusion; the mean stands in where the feature is NaN."""

    weight: float
    mean: float


@dataclass(frozen=True)
class Fusion:
    """A logistic function of features: the probability that a box is right.

    :param terms: by the feature's name.
    """

    bias: float
    terms: Mapping[str, Term] = field(default_factory=dict)

    def score(self, features: Features, number: int) -> np.ndarray:
        """:param number: of objects. :return: (number,) 0 to 1."""
        odds = np.full(number, self.bias)
        for name, term in self.terms.items():
            values = np.asarray(features.get(name, np.full(number, NAN)), float)
            odds += term.weight * np.where(np.isfinite(values), values, term.mean)
        return expit(odds)


def text_features(
    written: Written, objects: Sequence[ParsedObject], aim: str = '',
    opposites: Sequence[Collection[str]] = (),
) -> dict[str, np.ndarray]:
    """Compute what the tokens tell, see FREE.

    :param objects: of the answer, in its order.
    :param aim: what the model says it looks for.
    :param opposites: words of which only one can be true of an object, such as all colours.
    :return: (N,) by name.
    """
    names = ('tokens', 'copy', 'spread', 'margin', 'repeat', 'choice', 'claim', 'contradiction')
    rows = np.full((len(objects), len(names)), NAN)
    start = objects[0].span[0] if objects else 0
    opens, answered, mentioned = list_start(written.text, objects), -1, -1
    for row, found in zip(rows, objects, strict=True):
        row[7] = contradiction(aim, found.label, opposites)
        own, is_own = written.find_box(found.box, *found.span) or (None, 0.0)
        if own is None or is_own < 1:
            continue
        before = answered if answered >= 0 else start if opens is None else opens
        opening = _between(written, before, own)
        end, choice = written.chance_of_end(opening, opens), written.least_of(opening)
        answered = int(own[-1, 1])
        first, alike = written.find_box(found.box, 0, start) or (None, NAN)
        source = own
        if first is not None and alike >= SAME_OBJECT:
            source, at = first, int(first[0, 0])
            before = mentioned if 0 <= mentioned <= at else written.clause_start(at)
            opening = _between(written, before, first)
            end = max(end, written.chance_of_end(opening, None))
            choice = min(choice, written.least_of(opening))
            mentioned = int(first[-1, 1])
            clause = written.clause_about(at)
            if clause is not None:
                row[6] = written.sum_of(*clause)
                row[7] = contradiction(aim, written.text[slice(*clause)], opposites)
        row[:6] = (
            written.mean_of(source), written.mean_of(own), _spread(written, source, found),
            _log_odds(1 - end), alike, choice)
    before = start if opens is None else opens
    whole = {
        'opening': written.sum_of(0, _first_stop(written.text, before)) if before else NAN,
        'doubt': written.sum_of_words(before) if before else NAN,
        'objects': math.log(max(len(objects), 1)),
    }
    return dict(zip(names, rows.T, strict=True)) | {
        name: np.full(len(objects), value) for name, value in whole.items()}


def contradiction(aim: str, said: str, opposites: Sequence[Collection[str]]) -> float:
    """Tell whether what is said of an object rules out that it is what was looked for.

    :param opposites: words of which only one can be true of an object. Where the aim names several
        of them, each will do.
    :return: 1 or 0; NaN where no such words can be compared.
    """
    wanted, words = _words(aim), _words(said)
    pairs = [(wanted & group, words & group) for group in map(frozenset, opposites)]
    compared = [bool(one & other) for one, other in pairs if one and other]
    return float(not all(compared)) if compared else NAN


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r'\w+', text.lower()))


def _between(written: Written, start: int, numbers: np.ndarray) -> range:
    """:return: the tokens that follow a place and come before those of the first number."""
    first = written.tokens_of(start, start + 1).start if start else 0
    return range(first, written.tokens_of(*numbers[0]).start)


def _spread(written: Written, places: np.ndarray, found: ParsedObject) -> float:
    edges = np.maximum(1.0, np.subtract(found.box[2:], found.box[:2]))
    shares = [written.spread(*place) / edges[i % 2] for i, place in enumerate(places)]
    return math.log(max(float(np.mean(shares)), 1e-4))


def _first_stop(text: str, end: int) -> int:
    place = text.find('.', 0, end)
    return end if place < 0 else place


def _log_odds(chance: float) -> float:
    if not 0 < chance < 1:
        return math.copysign(MOST_ODDS, chance - 0.5)
    return float(np.clip(math.log(chance / (1 - chance)), -MOST_ODDS, MOST_ODDS))


def log_odds(chances: Sequence[float]) -> np.ndarray:
    """Turn probabilities into log-odds; NaN stays.

    :return: (N,) within MOST_ODDS of 0.
    """
    return np.array([NAN if math.isnan(chance) else _log_odds(chance) for chance in chances])


def mask_features(
    detections: Sequence[Detection], mask_boxes: Sequence[Sequence[float] | None], size: Size
) -> dict[str, np.ndarray]:
    """Compute what boxes and masks tell: area, mask_iou, agreement.

    :param mask_boxes: the box around each detection's mask; None: it has none.
    :param size: of the image.
    :return: (N,) by name.
    """
    boxes = np.array([found.box for found in detections], float).reshape(-1, 4)
    share = box_area(boxes) / max(size.width * size.height, 1)
    agreement = np.array([
        NAN if around is None else box_iou_matrix(box[None], np.array([around], float))[0, 0]
        for box, around in zip(boxes, mask_boxes, strict=True)])
    return {
        'area': np.log(np.maximum(share, 1e-6)),
        'mask_iou': np.array([found.mask_score for found in detections], float),
        'agreement': agreement,
    }


def missing_objects(
    objects: Sequence[ParsedObject], samples: Sequence[Sequence[ParsedObject]], least_share: float,
) -> tuple[ParsedObject, ...]:
    """Choose what other answers name and this one does not, each object once.

    Of boxes that overlap, the one that agrees best with all other answers stands for them.

    :param objects: of this answer, :param samples: of the others.
    :param least_share: what fewer of the other answers name is left out.
    :return: best agreed first.
    """
    others = [found for sample in samples for found in sample]
    boxes, chosen = boxes_of(objects), list[ParsedObject]()
    if not others:
        return ()
    iou = [box_iou_matrix(boxes_of(others), boxes_of(sample)).max(axis=1, initial=0)
           for sample in samples]
    named = np.array([np.where(best >= SAME_OBJECT, best, 0.0) for best in iou])
    for place in np.argsort(-named.mean(axis=0), kind='stable'):
        box = boxes_of([others[place]])
        is_known = (box_iou_matrix(box, boxes) >= SAME_OBJECT).any()
        if not is_known and (named[:, place] > 0).mean() >= least_share:
            boxes = np.vstack((boxes, box))
            chosen.append(others[place])
    return tuple(chosen)


def boxes_of(objects: Sequence[ParsedObject]) -> np.ndarray:
    """:return: (N, 4) in the model's own numbers."""
    return np.array([found.box for found in objects], float).reshape(-1, 4)


def consistency(
    boxes: np.ndarray, samples: Sequence[np.ndarray], least_iou: float = SAME_OBJECT
) -> np.ndarray:
    """Say how much of other answers agrees with each box.

    In each other answer a box has one counterpart at most, and is that of one only.

    :param boxes: (N, 4), :param samples: (M, 4) each, of the other answers.
    :param least_iou: boxes that overlap less are no counterparts.
    :return: (N,) mean over answers of the counterpart's IoU, 0 where it has none; NaN without
        other answers.
    """
    if not samples:
        return np.full(len(boxes), NAN)
    total = np.zeros(len(boxes))
    for others in samples:
        iou = box_iou_matrix(boxes, others)
        iou = np.where(iou >= least_iou, iou, 0.0)
        rows, columns = linear_sum_assignment(iou, maximize=True)
        total[rows] += iou[rows, columns]
    return total / len(samples)
