"""Figures of samples that are small enough to be worked out by hand.

Pictures of pixels: T true, F found, B both, i to be ignored, t true and ignored, f found and
ignored, b all three; anything else is none of them. Boxes are of 10 by 10 pixels unless they say
otherwise, so that shares can be read off.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Mask, Size, Status
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics import panel
from vr_ros.evaluation.metrics.figures import figures

A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
A_HALF = (0, 0, 10, 5)              # IoU 0.5 with A
A_LESS = (0, 0, 10, 4)              # IoU 0.4 with A
A_MOST = (0, 0, 10, 8)              # IoU 0.8 with A
POINT, LINE = (5, 5, 5, 5), (0, 5, 10, 5)   # no area
GROUP = (0, 0, 30, 30)
SIZE = Size(100, 100)
NOTHING = Found(Status.NO_OBJECT)
UNREADABLE, LATE = Found(Status.PARSE_ERROR), Found(Status.TIMEOUT)


def true(*boxes, **more) -> Truth:
    return Truth(size=SIZE, category='thing', boxes=boxes, **more)


def found(*boxes, scores=()) -> Found:
    return Found(boxes=boxes, scores=scores)


def pixels(picture: str, letters: str) -> Mask:
    return mask_to_rle(np.array([[pixel in letters for pixel in row] for row in picture.split()]))


def drawn(picture: str, answered: Found | None = None) -> tuple[Truth, Found]:
    """Read a picture: one true region, one found object where any pixel is found."""
    truth = Truth(region=pixels(picture, 'TBtb'), ignore=pixels(picture, 'itfb'))
    mask = pixels(picture, 'FBfb')
    if answered is None:
        answered = Found(boxes=[(0, 0, 1, 1)], masks=(mask,)) if any(mask.counts[1::2]) else NOTHING
    return truth, answered


def objects(*pictures: str, letters: str = 'TB') -> tuple[Mask, ...]:
    return tuple(pixels(picture, letters) for picture in pictures)


def ranked(truth: Truth, *boxes, scores=()) -> tuple[Truth, Found]:
    return truth, found(*boxes, scores=scores)


TEN = tuple((10 * n, 50, 10 * n + 8, 58) for n in range(10))   # ten objects, apart
CASES = [
    # -- pixels, strict --------------------------------------------------------------------------
    ('gIoU', 1.0, [drawn('.... ....')]),                       # nothing there, nothing found
    ('gIoU', 0.0, [drawn('TT..')]),                            # missed
    ('gIoU', 0.0, [drawn('FF..')]),                            # invented
    ('gIoU', 1 / 3, [drawn('TBF.')]),                          # one of three pixels in common
    ('gIoU', 2 / 3, [drawn('TBF.'), drawn('....')]),           # mean over samples
    ('gIoU', 0.0, [drawn('....', UNREADABLE)]),                # an error is not 'nothing there'
    ('gIoU', 0.0, [drawn('....', Found(boxes=[A]))]),          # claimed, though without a mask
    ('gIoU', 1.0, [drawn('BBff')]),                            # found beyond, in the ignored part
    ('gIoU', 1.0, [drawn('BBtt')]),                            # missed only what is ignored
    ('gIoU', 0.5, [drawn('BTbf')]),                            # ignored pixels count neither way
    ('gIoU', 1.0, [drawn('..ff')]),                            # found only what is ignored
    ('cIoU', 0.3, [drawn('BT..'), drawn('FFFF TTBB')]),        # 3 of 10 pixels together
    ('cIoU', 0.5, [drawn('BT..'), drawn('....')]),             # rightly nothing adds no pixel
    ('cIoU', 0.25, [drawn('BT..'), drawn('TT..', LATE)]),      # an error is all missed
    # -- pixels, as published --------------------------------------------------------------------
    ('published gIoU', 0.0, [drawn('....')]),                  # nothing there, nothing found: 0
    ('published gIoU with absence', 1.0, [drawn('....')]),     # the other script: 1
    ('published gIoU with absence', 0.0, [drawn('....', LATE)]),
    ('published gIoU with absence', 1.0, [drawn('....', UNREADABLE)]),   # unreadable is empty
    ('published gIoU', 0.5, [drawn('BBii')]),                  # the ignored part is wanted, too
    ('published gIoU', 1.0, [drawn('BBff')]),
    ('published cIoU', 1 / 3, [drawn('B...'), drawn('TT..', LATE)]),     # an error: true area
    ('published N-acc', 0.5, [drawn('....'), drawn('FF..')]),
    ('published N-acc', 1.0, [drawn('....', UNREADABLE)]),
    ('published N-acc', 0.0, [drawn('....', LATE)]),
    # -- box hit, as published -------------------------------------------------------------------
    ('published box hit', 1.0, [(true(A, masks=objects('T.')), found(A, B, C))]),   # any box
    ('published box hit', 0.0, [(true(A, masks=objects('T.')), found(A_HALF))]),    # more than half
    ('published box hit', 1.0, [(true(A, masks=objects('T.')),                      # the box around
                                 found((0, 0, 10, 4), (0, 6, 10, 10)))]),
    ('published box hit', 0.0, [(true(A, masks=objects('T.')), found(POINT))]),     # no area
    ('published box hit', 0.0, [(true(A, masks=objects('T.')), NOTHING)]),
    ('published box hit', 1.0, [(Truth(region=pixels('....', 'T')), NOTHING)]),     # rightly none
    # the box of 2 true pixels is 1 wide, of 1 row it has no area: a perfect box is no hit
    ('published box hit', 0.0, [(Truth(region=pixels('TT..', 'T')), found((0, 0, 2, 1)))]),
    # -- boxes one-to-one, strict ----------------------------------------------------------------
    ('box F1@0.5', 1.0, [(true(A, B), found(B, A))]),          # in another order
    ('box F1@0.5', 2 / 3, [(true(A), found(A, A))]),           # a duplicate is one too many
    ('box F1@0.5', 1.0, [(true(A), found(A_HALF))]),           # one half is enough
    ('box F1@0.5', 0.0, [(true(A), found(A_LESS))]),
    ('box F1@0.5', 2 / 3, [(true(A), found(A)), (true(), found(B))]),   # invented elsewhere
    ('box F1@0.5', 2 / 3, [(true(A), found(A)), (true(B), LATE)]),      # an error is a miss
    ('box F1@0.5', None, [(true(), NOTHING)]),                 # rightly nothing is no object
    ('box F1@0.5', 0.0, [(true(POINT), found(POINT))]),        # no area, no overlap
    ('box F1@0.5', 0.0, [(true(A), found(LINE))]),
    ('box F1@[.5:.95]', 0.7, [(true(A), found(A_MOST))]),      # 0.5 to 0.8: seven of ten
    ('box F1@[.5:.95]', 1.0, [(true(A), found(A))]),
    ('box recall@0.5', 0.5, [(true(A, B), found(A, A))]),
    ('box precision@0.5', 0.5, [(true(A, B), found(A, A))]),
    # -- crowds ----------------------------------------------------------------------------------
    ('box precision@0.5', 1.0, [(true(C, GROUP, crowd=[0, 1]), found(C, A, B))]),   # in the crowd
    ('box precision@0.5', 0.5, [(true(C, A, crowd=[0, 1]),                          # 2 of 5 inside
                                 found(C, (0, 0, 10, 25)))]),
    ('box recall@0.5', 1.0, [(true(C, GROUP, crowd=[0, 1]), found(C))]),            # none to find
    ('box recall@0.5', 1.0, [(true(A, GROUP, crowd=[0, 1]), found(A))]),            # true first
    # -- LRP and PQ ------------------------------------------------------------------------------
    ('box LRP@0.5', 0.0, [(true(A), found(A))]),
    ('box LRP@0.5', 0.4, [(true(A), found(A_MOST))]),          # 0.2 off of at most 0.5
    ('box LRP@0.5', (0.4 + 2) / 3, [(true(A, B), found(A_MOST, C))]),   # one missed, one invented
    ('box LRP@0.5', 1.0, [(true(A), NOTHING)]),
    ('box PQ@0.5', 0.8, [(true(A), found(A_MOST))]),
    ('box PQ@0.5', 0.4, [(true(A, B), found(A_MOST, C))]),     # 0.8 / (1 + 1/2 + 1/2)
    # -- masks one-to-one ------------------------------------------------------------------------
    ('mask F1@0.5', 1.0, [(Truth(masks=objects('T... ....', '..T. ....')),
                           Found(boxes=[A, B], masks=objects('..T. ....', 'T... ....')))]),
    ('mask F1@0.5', 0.0, [(Truth(masks=objects('T.T.')),                # one half of each of two
                           Found(boxes=[A], masks=(None,)))]),          # is no mask
    ('mask F1@0.5', 2 / 3, [(Truth(masks=objects('T...', '..T.')),      # two found as one
                             Found(boxes=[A], masks=objects('T.T.')))]),
    ('mask precision@0.5', 1.0, [(Truth(masks=objects('T...'), ignore=pixels('..ii', 'i')),
                                  Found(boxes=[A, B], masks=objects('T...', '..TT')))]),
    # -- AP, own scores --------------------------------------------------------------------------
    ('box AP@0.5', 1.0, [ranked(true(A), A, A, scores=[0.9, 0.8])]),    # a duplicate behind
    ('box AP@0.5', 0.5, [ranked(true(A), B, A, scores=[0.9, 0.8])]),    # a wrong one before
    ('box AP@0.5', 51 / 101, [ranked(true(A, B), A, scores=[0.9])]),    # recall 0 to 0.50 of 101
    ('box AP@0.5', 1.0, [ranked(true(C, GROUP, crowd=[0, 1]), A, B, C, scores=[0.9, 0.8, 0.7])]),
    ('box AP@[.5:.95]', 0.7, [ranked(true(A), A_MOST, scores=[0.9])]),
    # recall 0.1 at precision 1, then a miss, then recall 0.2 at precision 2/3
    ('box AP@0.5', (11 + 10 * 2 / 3) / 101,
     [ranked(true(*TEN), TEN[0], A, TEN[1], scores=[0.9, 0.8, 0.7])]),
    ('box AP@0.5', 0.5, [ranked(true(A), A, scores=[0.5]),               # over all images at once
                         ranked(true(), B, scores=[0.9])]),
    # -- AP, area as score -----------------------------------------------------------------------
    ('published COCO AP@0.5', 0.5, [ranked(true(A), GROUP, A, scores=[0.1, 0.9])]),   # larger first
    ('published COCO AP@0.5', 1.0, [ranked(true(A), LINE, A, scores=[0.9, 0.1])]),
    # -- counts ----------------------------------------------------------------------------------
    ('exact count', 0.5, [(Truth(count=2), found(A, B)), (Truth(count=1), found(A, B))]),
    ('exact count', 0.0, [(Truth(count=0), LATE)]),            # an error is no zero
    ('exact count', 1.0, [(Truth(count=0), NOTHING)]),
    ('count MAE', 2.0, [(Truth(count=4), found(A)), (Truth(count=1), found(A, B))]),  # 3 and 1
    ('count RMSE', 5 ** 0.5, [(Truth(count=4), found(A)), (Truth(count=1), found(A, B))]),
    ('count MAE', 1.0, [(Truth(count=0), LATE)]),              # off by one at least
    ('published exact count', 1.0, [(Truth(count=1), LATE)]),  # a failed row is a 1
    ('published exact count', 1.0, [(Truth(count=0), UNREADABLE)]),
    ('published count MAE', 2.0, [(Truth(count=3), LATE)]),
    # -- absence, strict -------------------------------------------------------------------------
    ('no-object recall', 0.5, [(true(), NOTHING), (true(), found(A)), (true(A), NOTHING)]),
    ('no-object precision', 0.5, [(true(), NOTHING), (true(), found(A)), (true(A), NOTHING)]),
    ('no-object recall', 0.0, [(true(), UNREADABLE)]),
    ('no-object precision', None, [(true(), found(A))]),       # never said
    # -- calibration -----------------------------------------------------------------------------
    ('AUROC', 1.0, [ranked(true(A), A, B, scores=[0.9, 0.1])]),
    ('AUROC', 0.5, [ranked(true(A), A, B, scores=[0.9, 0.9])]),
    ('ECE', 0.1, [ranked(true(A), A, scores=[0.9])]),
    ('ECE', 0.4, [ranked(true(A), A, A, scores=[0.9, 0.9])]),  # 0.9 said, one half right
    ('ECE', 0.5, [ranked(true(A), A, A, scores=[0.8, 0.8]),    # 0.3 off in one bin of two
                  ranked(true(A), B, B, scores=[0.7, 0.7])]),  # and 0.7 in another
    ('ECE', 0.0, [ranked(true(A), A, B, scores=[1.0, 0.0])]),
    ('Brier score', (0.01 + 0.81) / 2, [ranked(true(A), A, A, scores=[0.9, 0.9])]),
    # -- effort ----------------------------------------------------------------------------------
    ('parse failures', 0.25, [(true(), f) for f in (NOTHING, UNREADABLE, LATE, NOTHING)]),
    ('errors', 2 / 3, [(true(), f) for f in (NOTHING, UNREADABLE, LATE)]),
    ('latency p50', 15.0, [(true(), Found(latency_ms=ms)) for ms in (10, 20)]),
    ('latency p90', 19.0, [(true(), Found(latency_ms=ms)) for ms in (10, 20)]),
    ('reasoning mean', 1.5, [(true(), Found(reasoning=text)) for text in ('one two  three', '')]),
    ('published reasoning', 3.0, [(true(), Found(raw_text=text)) for text in (
        '<think>one two three</think><answer>[]', '<answer>[]', 'no tag at all')]),
]


@pytest.mark.parametrize(('name', 'expected', 'samples'), CASES)
def test_case(name: str, expected: float | None, samples: list[tuple[Truth, Found]]) -> None:
    truths, answers = zip(*samples, strict=True)
    make = panel.published_panel if name.startswith('published') else panel.strict_measures
    values = {f.name: f.value for f in figures(make(truths, answers), rounds=0)}
    assert values.get(name) == (None if expected is None else pytest.approx(expected))


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 30


def test_a_figure_without_anything_to_say_is_left_out() -> None:
    names = {m.name for m in panel.strict_measures([Truth(answers=('a',))], [Found(answer='a')])}
    assert names == {
        'VQA exact', 'ANLS', 'relaxed accuracy', 'reasoning mean', 'reasoning p50',
        'reasoning p95', 'parse failures', 'errors', 'partial answers'}
    assert panel.published_panel([Truth(answers=('a',))], [Found(answer='a')]) == []


def test_every_figure_is_in_the_documentation() -> None:
    """Rows of the table name figures; those of one row share their beginning."""
    text = (Path(__file__).parents[2] / 'docs/evaluation.md').read_text(encoding='utf-8')
    rows = [row.split('|')[1] for row in text.split('## Metrics')[1].splitlines()
            if row.startswith('| ')][1:]
    truth = Truth(
        size=Size(4, 1), boxes=[A], masks=objects('T...'), answers=('a',), count=1)
    other = Truth(size=Size(4, 1), boxes=[], masks=(), count=0)
    answer = Found(boxes=[A], masks=objects('T...'), scores=[0.5], latency_ms=1.0,
                   raw_text='word <answer>')
    ruled = [Truth(answers=('A', 'a'), choices=('a', 'b'), rule=rule) for rule in (
        'choice accuracy', 'VQA accuracy', 'answer contained')]
    truths, found = [truth, other, *ruled], [answer, NOTHING, *[Found(answer='a')] * len(ruled)]
    measures = [*panel.strict_measures(truths, found), *panel.published_panel(truths, found)]
    assert {'choice accuracy', 'answer score'} < {measure.name for measure in measures}
    for measure in measures:
        words = measure.name.replace('box ', '').replace('mask ', '')
        kind, _, figure = words.rpartition(' ')
        start, _, threshold = figure.partition('@')
        assert any(
            start in row and threshold in row and kind.split(' ')[0] in row for row in rows), words


def test_samples_of_one_image_are_a_group() -> None:
    truths = [Truth('x'), Truth('y'), Truth('x'), Truth(), Truth()]
    groups = panel.image_groups(truths)
    assert groups[0] == groups[2] and len(set(groups)) == 4
