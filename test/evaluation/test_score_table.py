"""Sources of scores compared on made-up answers whose figures are known."""
from __future__ import annotations

import math

import numpy as np
import pytest

from vr_ros.core.confidence import Fusion, Term
from vr_ros.core.types import Size, Status, Task
from vr_ros.datasets.sample import Sample, SampleError
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.scores import records
from vr_ros.evaluation.scores.records import (
    FeatureKeeper,
    Judged,
    absent_scenes,
    judged_all,
    samples,
    scenes,
)
from vr_ros.evaluation.scores.table import (
    FIGURES,
    gain,
    own_only,
    removal,
    right_objects,
    right_shares,
    score_lists,
    table,
    threshold_for,
)
from vr_ros.sim.instructions import answer_key
from vr_ros.sim.renderer import render_scene

A, B, FAR = (0, 0, 10, 10), (20, 0, 40, 10), (60, 60, 70, 70)


def judged(image: int, wanted: list, found: list, **features: list[float]) -> Judged:
    status = Status.OK if found else Status.NO_OBJECT
    return Judged(
        str(image), 'find it', 'detect_one', status, Size(100, 100),
        np.array(wanted, float).reshape(-1, 4), np.array(found, float).reshape(-1, 4),
        {name: np.array(values, float) for name, values in features.items()})


# Four right objects and three wrong ones, one of them where nothing is; one answer is empty.
ANSWERS = [
    judged(1, [A, B], [A, FAR], mask_iou=[0.9, 0.2], tokens=[-0.1, math.nan]),
    judged(2, [A, B], [B, A], mask_iou=[0.8, 0.7], tokens=[-0.2, -0.3]),
    judged(3, [], [FAR], mask_iou=[0.3], tokens=[-0.1]),
    judged(4, [A], [], ),
    judged(5, [A], [A, A], mask_iou=[0.6, 0.5], tokens=[0.0, 0.0]),   # the same object twice
]


def by_name(rows):
    return {row.source: {f.name: f.value for f in row.figures} for row in rows}


def test_what_is_right():
    assert [right_objects(one).tolist() for one in ANSWERS] == [
        [True, False], [True, True], [False], [], [True, False]]


def test_how_right_it_is():
    # IoU 1, and 0.72: right at 0.5, 0.55, … 0.7.
    found = judged(1, [A, B], [A, (20, 0, 40, 7.2)])
    assert right_shares(found) == pytest.approx([1.0, 0.5])
    assert right_shares(ANSWERS[3]).shape == (0,)


def test_figures_of_every_source():
    fusion = Fusion(-1.0, {'mask_iou': Term(2.0, 0.5)})
    lists = score_lists(ANSWERS, {'fused': fusion})
    assert list(lists) == [
        'constant', 'area', 'tokens', 'margin', 'existence', 'mask_iou', 'consistency',
        'yes or no alone', 'agreement', 'perfect order', 'fused']
    assert [len(scores) for scores in lists['margin']] == [2, 2, 1, 0, 2]
    assert np.isnan(np.concatenate(lists['margin'])).all()         # nobody computed it
    found = by_name(table(ANSWERS, lists, rounds=0))
    assert set(found['fused']) == set(FIGURES)
    # All right ones above all wrong ones, but for the twin in between: 4 * 3 pairs.
    assert found['mask_iou']['AUROC'] == 1.0
    assert found['constant']['AUROC'] == 0.5
    # Four hits of six true objects, none below a miss: recalls up to 4/6 at precision 1.
    assert found['mask_iou']['box AP@0.5'] == pytest.approx(67 / 101)
    assert found['mask_iou']['box AP@0.5'] > found['constant']['box AP@0.5']
    assert found['perfect order']['AUROC'] == 1.0
    assert all(found['perfect order'][FIGURES[0]] >= one[FIGURES[0]] for one in found.values())
    # A fusion that rises with one feature orders as that feature does.
    assert found['fused']['box AP@[.5:.95]'] == found['mask_iou']['box AP@[.5:.95]']
    assert found['fused']['ECE'] != found['mask_iou']['ECE']
    assert found['area']['ECE'] is None and found['constant']['ECE'] is None


def test_area_ranks_as_the_published_script_has_it():
    lists = score_lists(ANSWERS, {})
    assert lists['area'][1] == pytest.approx([0.02, 0.01])
    assert lists['tokens'][0] == pytest.approx([math.exp(-0.1), math.nan], nan_ok=True)


def test_gain_is_the_difference_with_an_interval():
    lists = score_lists(ANSWERS, {})
    found = by_name(table(ANSWERS, lists, rounds=0))
    value, low, high = gain(ANSWERS, lists['mask_iou'], ANSWERS, lists['area'], rounds=50)
    name = FIGURES[0]
    assert value == pytest.approx(found['mask_iou'][name] - found['area'][name])
    assert low <= value <= high


def test_what_only_other_answers_name_can_be_left_out():
    mixed = [judged(1, [A, B], [A, B, FAR], own=[1, 0, 0], mask_iou=[0.9, 0.8, 0.7]),
             judged(2, [A], [A], own=[0], mask_iou=[0.5]),
             judged(3, [A], [])]
    kept = own_only(mixed)
    assert [one.found.tolist() for one in kept] == [[list(A)], [], []]
    assert [one.features.get('mask_iou', np.empty(0)).tolist() for one in kept] == [[0.9], [], []]
    assert [one.status for one in kept] == [Status.OK, Status.NO_OBJECT, Status.NO_OBJECT]


@pytest.mark.parametrize(('threshold', 'hallucinated', 'true', 'wrong'), [
    (0.0, 0.0, 0.0, 0.0),
    (0.25, 0.0, 0.0, 1 / 3),
    (0.31, 1.0, 0.0, 2 / 3),        # the one where nothing is
    (0.65, 1.0, 0.25, 1.0),
    (2.0, 1.0, 1.0, 1.0),
])
def test_what_a_threshold_takes_away(threshold, hallucinated, true, wrong):
    scores = [one.features.get('mask_iou', np.empty(0)) for one in ANSWERS]
    gone = removal(ANSWERS, scores, threshold)
    assert (gone.hallucinated, gone.true, gone.wrong) == pytest.approx((hallucinated, true, wrong))
    assert (gone.hallucinated_of, gone.true_of) == (1, 4)
    assert gone.absence == hallucinated      # one such instruction, one object


def test_what_has_no_score_is_never_taken_away():
    scores = [np.full(len(one.found), np.nan) for one in ANSWERS]
    assert removal(ANSWERS, scores, 2.0).true == 0


def test_the_threshold_that_loses_no_more_than_allowed():
    many = [judged(i, [A], [A], mask_iou=[i / 100]) for i in range(100)]
    scores = [one.features['mask_iou'] for one in many]
    threshold = threshold_for(many, scores, 0.02)
    assert threshold == pytest.approx(0.02)
    assert removal(many, scores, threshold).true == pytest.approx(0.02)


def test_answers_survive_the_file(tmp_path, monkeypatch):
    cache = tmp_path / 'features.jsonl'
    (first,) = judged_all('sim_tiny', 'cpu', scenes(2_000_001, 1), cache)
    assert first and all(one.image == '2000001' for one in first)
    some = next(one for one in first if len(one.found))
    assert {'tokens', 'margin', 'mask_iou', 'agreement', 'existence', 'consistency'} <= set(
        some.features)
    assert all(len(values) == len(some.found) for values in some.features.values())
    # Now nothing is loaded.
    monkeypatch.setattr(records, 'Perceiver', None)
    (again,) = judged_all('sim_tiny', 'cpu', scenes(2_000_001, 1), cache)
    for one, other in zip(first, again, strict=True):
        assert one.as_json() == other.as_json()
        np.testing.assert_array_equal(one.found, other.found)
        for name, values in one.features.items():
            np.testing.assert_array_equal(values, other.features[name])
    assert len(cache.read_text().splitlines()) == 1


def test_a_keeper_scores_nothing():
    from vr_ros.models.card import load_card

    card = load_card('sim_tiny').confidence
    assert FeatureKeeper(card).asks_more and not FeatureKeeper(card, ()).asks_more


class OneRoom:
    """A data set: a frame that asks for its objects, one that asks a question, one that is broken.
    """

    name = 'room'
    ids = ('boxes', 'words', 'broken')

    def load(self, place: int) -> Sample:
        if place == 2:
            raise SampleError('cut off')
        frame = render_scene(2_000_001)
        boxes = np.array([o.box for o in frame.truth.targets], float)
        crowd = np.arange(len(boxes)) == 0
        truth = Truth('room.png', frame.truth.size, boxes=boxes, crowd=crowd)
        if place == 1:
            return Sample(frame.rgb, 'what is there?', Truth('room.png', answers=('mugs',)))
        return Sample(frame.rgb, 'find all objects', truth, Task.DETECTION)


def test_samples_of_a_data_set_are_judged_alike(caplog):
    found = list(judged_all('sim_tiny', 'cpu', samples(OneRoom(), 3)))
    assert [len(some) for some in found] == [1, 0, 0]
    ((one,), _, _) = found
    assert one.image == 'room.png' and len(one.found) and 'existence' in one.features
    assert len(one.wanted) == len(OneRoom().load(0).truth.boxes) - 1     # a crowd is no object
    assert 'broken is left out: cut off' in caplog.text


def test_what_is_not_there_is_asked_for():
    found = list(judged_all('sim_tiny', 'cpu', absent_scenes(2_000_001, 1)))
    assert [len(some) for some in found] == [3]
    for one in found[0]:
        assert one.image == '2000001' and len(one.wanted) == 0
        key = answer_key(one.text, render_scene(2_000_001).truth)
        assert key is not None and key.target_ids == () and key.task is not Task.VQA
        assert 'consistency' not in one.features
