"""Scores of real answers of the embedded model, from every source, and what they take away."""
from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from vr_ros.core.answer import parse_answer
from vr_ros.core.confidence import COSTLY, FREE, OWN, Fusion, Term
from vr_ros.core.events import MasksEvent, ObjectsEvent
from vr_ros.core.types import Detection, ScoreSource, Status, Task
from vr_ros.models.card_types import ConfidenceCard, ExistenceCard
from vr_ros.pipeline.outcome import without
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.pipeline.scoring import Answered, Scorer
from vr_ros.sim.renderer import render_scene

EXISTENCE = ExistenceCard(
    (' yes',), (' no', ' reference'), max_tokens=6,
    assistant='<think>Looking for: {aim}. On the table: r{row}c{column}')
FUSION = Fusion(0.5, {'mask_iou': Term(1.0, 0.5), 'objects': Term(-2.0, 0.0)})
FULL = ConfidenceCard(
    ScoreSource.FUSED, samples=3, ends=('nothing',), aim='Looking for: ([^.]*)',
    opposites=(('small', 'large'),), existence=EXISTENCE, fusion=FUSION)


class Spy(Scorer):
    """Keeps what it was asked to judge."""

    def judge(self, answered: Answered) -> tuple[tuple[Detection, ...], int]:
        self.answered = answered
        return super().judge(answered)


@pytest.fixture(scope='module')
def perceiver():
    perceiver = Perceiver.from_card('sim_tiny', device='cpu', score_source='margin')
    assert perceiver.scorer.card.source is ScoreSource.MARGIN
    yield perceiver
    perceiver.close()


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    return render_scene(1_000_003, count=3).rgb


class Rising(Scorer):
    """Scores objects from 0 to 1 in their order, whatever the card says."""

    def scores(self, features, number):
        return np.linspace(0, 1, number)


def ask(perceiver: Perceiver, image: np.ndarray, card: ConfidenceCard, **options: object):
    perceiver.scorer = Spy(card)
    return perceiver.perceive(image, 'find all objects', **options)


def test_without_a_source_there_is_no_score(perceiver, image):
    result = ask(perceiver, image, ConfidenceCard())
    assert result.detections
    assert all(math.isnan(found.score) and found.score_source is ScoreSource.NONE
               for found in result.detections)
    assert perceiver.scorer.answered.reasoning.prefix is None


@pytest.mark.parametrize('source', list(ScoreSource)[1:], ids=lambda source: source.name)
def test_every_source_gives_every_object_a_score(perceiver, image, source):
    result = ask(perceiver, image, dataclasses.replace(FULL, source=source))
    assert result.detections
    for found in result.detections:
        assert found.score_source is source
        assert 0 <= found.score <= 1
    answered = perceiver.scorer.answered
    assert (answered.reasoning.prefix is not None) == (source in (
        ScoreSource.EXISTENCE, ScoreSource.CONSISTENCY))


def test_scores_are_what_the_features_say(perceiver, image):
    result = ask(perceiver, image, FULL)
    scorer = perceiver.scorer
    features = scorer.features(scorer.answered, ())
    assert set(features) == {*FREE, OWN} and features[OWN].all()
    number = len(result.detections)
    odds = 0.5 + np.array([found.mask_score for found in result.detections]) - 2 * math.log(number)
    assert [found.score for found in result.detections] == pytest.approx(1 / (1 + np.exp(-odds)))
    # The reasoning writes every box, and the answer copies it.
    assert (features['repeat'] > 0.5).all() and (features['agreement'] > 0.5).all()
    assert np.isfinite(features['claim']).all() and (features['claim'] <= 0).all()


def test_what_costs_is_there_when_asked_for(perceiver, image):
    ask(perceiver, image, dataclasses.replace(FULL, source=ScoreSource.CONSISTENCY))
    scorer = perceiver.scorer
    assert len(scorer.answered.others) == 3 and scorer.answered.added == 0
    features = scorer.features(scorer.answered, tuple(COSTLY))
    assert np.isfinite(features['existence']).all()
    assert ((features['consistency'] >= 0) & (features['consistency'] <= 1)).all()
    # Three objects that are there, asked for with a word that fits all.
    assert (features['existence'] > 0).all() and (features['consistency'] > 0).any()


def test_without_masks_the_fusion_takes_the_mean(perceiver, image):
    result = ask(perceiver, image, FULL, want_masks=False)
    odds = 0.5 + 0.5 - 2 * math.log(len(result.detections))
    assert [found.score for found in result.detections] == pytest.approx(
        [1 / (1 + math.exp(-odds))] * len(result.detections))


def test_what_has_no_score_says_so(perceiver, image):
    card = ConfidenceCard(ScoreSource.MASK_IOU, threshold=0.9)
    result = ask(perceiver, image, card, want_masks=False)
    assert result.detections and all(math.isnan(found.score) for found in result.detections)


def test_the_threshold_leaves_out_what_is_below(perceiver, image):
    card = ConfidenceCard(ScoreSource.MASK_IOU)
    whole = ask(perceiver, image, card)
    scores = sorted(found.score for found in whole.detections)
    assert len(scores) > 1
    some = ask(perceiver, image, dataclasses.replace(card, threshold=scores[1]))
    kept = [found for found in whole.detections if found.score >= scores[1]]
    assert [found.box for found in some.detections] == [found.box for found in kept]
    assert [found.index for found in some.detections] == [found.index for found in kept]
    assert some.status is Status.OK and some.status_message.startswith('1 left out')
    none = ask(perceiver, image, dataclasses.replace(card, threshold=1.0))
    assert none.status is Status.NO_OBJECT and none.count == 0
    assert none.status_message == (
        f'{len(scores)} left out: score (mask_iou) below 1, the threshold of the model card')
    # Who wants them finds them in what the model wrote, in pixels of its input.
    assert len(parse_answer(none.raw_text).objects) == len(scores)


def test_what_remains_keeps_the_index_that_it_was_announced_with(perceiver, image):
    perceiver.scorer = Rising(ConfidenceCard(ScoreSource.MASK_IOU, threshold=0.4))
    events = []
    result = perceiver.perceive(image, 'find all objects', on_event=events.append)
    announced = {found.index: found for event in events if isinstance(event, ObjectsEvent)
                 for found in event.detections}
    masked = {found.index: found for event in events if isinstance(event, MasksEvent)
              for found in event.detections}
    # The first ones are left out.
    indices = [found.index for found in result.detections]
    assert 0 < len(indices) < len(announced) and indices[0] > 0
    assert indices == sorted(announced)[-len(indices):] and result.count == len(indices)
    for found in result.detections:
        first = announced[found.index]
        assert (found.box, found.label, found.mask) == (
            first.box, first.label, masked[found.index].mask)


def test_what_only_other_answers_name_is_added_on_request(perceiver, image):
    words = 'find the small objects'
    card = dataclasses.replace(FULL, source=ScoreSource.CONSISTENCY, samples=6, temperature=2.0)
    perceiver.scorer = Spy(card)
    plain = perceiver.perceive(image, words)
    perceiver.scorer = Spy(dataclasses.replace(card, add_from=0.0))
    announced = []
    whole = perceiver.perceive(image, words, on_event=announced.append)
    answered = perceiver.scorer.answered
    number = len(plain.detections)
    assert answered.added > 0 and len(whole.detections) == number + answered.added
    assert [found.box for found in whole.detections[:number]] == [
        found.box for found in plain.detections]
    named = [found for event in announced if isinstance(event, ObjectsEvent)
             for found in event.detections]
    assert len(named) == len(whole.detections)
    assert all(math.isfinite(found.mask_score) for found in whole.detections)
    features = perceiver.scorer.features(answered, ())
    assert features[OWN].tolist() == [1.0] * number + [0.0] * answered.added
    assert np.isnan(features['tokens'][number:]).all()
    assert np.isfinite(features['tokens'][:number]).all()
    assert np.isfinite(features['mask_iou']).all()


def test_told_to_stop_it_draws_no_other_answers(perceiver, image):
    asked = []
    card = dataclasses.replace(FULL, source=ScoreSource.CONSISTENCY)
    perceiver.scorer = Spy(ConfidenceCard(ScoreSource.TOKENS))
    length = perceiver.perceive(image, 'find all objects').timing.completion_tokens
    perceiver.scorer = Spy(card)
    result = perceiver.perceive(
        image, 'find all objects', should_stop=lambda: asked.append(1) or len(asked) > length + 3)
    assert len(asked) < length + 6
    assert result.detections and all(math.isnan(found.score) for found in result.detections)
    assert perceiver.scorer.answered.others == ()


def test_what_contradicts_itself_does_not_exist():
    features = {'existence': np.array([2.0, 2.0, 2.0]), 'contradiction': np.array([0, 1, np.nan])}
    yes = 1 / (1 + math.exp(-2))
    assert Scorer(ConfidenceCard(ScoreSource.EXISTENCE)).scores(features, 3) == pytest.approx(
        [yes, 0, yes])


def test_a_plain_answer_has_nothing_to_score(perceiver, image):
    perceiver.scorer = Spy(dataclasses.replace(FULL, source=ScoreSource.CONSISTENCY))
    result = perceiver.perceive(image, 'What is on the table?')
    assert result.task is Task.VQA and not result.detections and result.answer


@pytest.mark.parametrize(('left_out', 'kept', 'status', 'expected'), [
    (0, 2, Status.OK, Status.OK),
    (1, 2, Status.OK, Status.OK),
    (1, 0, Status.OK, Status.NO_OBJECT),
    (1, 0, Status.PARTIAL, Status.PARTIAL),              # there may have been more
    (1, 0, Status.LIMIT_REACHED, Status.LIMIT_REACHED),
    (0, 1, Status.NO_OBJECT, Status.OK),                 # other answers name some
    (1, 1, Status.NO_OBJECT, Status.OK),
    (1, 0, Status.NO_OBJECT, Status.NO_OBJECT),
    (0, 0, Status.NO_OBJECT, Status.NO_OBJECT),
])
def test_what_is_left_of_none_is_nothing(left_out, kept, status, expected):
    detections = [Detection(i, (0, 0, 1, 1)) for i in range(kept)]
    card = ConfidenceCard(ScoreSource.FUSED, threshold=0.24)
    new, message = without(left_out, detections, status, 'so', card)
    assert new is expected
    assert ('score (fused) below 0.24' in message) == bool(left_out)
