"""The part of a card that says where scores come from: what it may say, and what it must not."""
from __future__ import annotations

from pathlib import Path

import pytest
from test_card import write_card

from vr_ros.core.confidence import Fusion, Term
from vr_ros.core.types import PerceptionError, ScoreSource, Status
from vr_ros.models.card import known_cards, load_card
from vr_ros.models.card_confidence import fill_in, needed_features, with_source
from vr_ros.models.card_types import ConfidenceCard, ExistenceCard

ASK = {'user': 'Is {question} at {box}?', 'for_yes': ['Yes', 'yes'], 'for_no': ['No']}
FUSION = {'bias': -1, 'features': {'tokens': {'weight': 2.5, 'mean': -0.5},
                                   'existence': {'weight': 1, 'mean': 0}}}


def read(directory: Path, confidence: dict) -> ConfidenceCard:
    return load_card(write_card(directory, {'confidence': confidence})).confidence


def test_without_a_section_there_are_no_scores(tmp_path):
    card = load_card(write_card(tmp_path, {})).confidence
    assert card == ConfidenceCard() and card.source is ScoreSource.NONE


def test_everything_that_can_be_said(tmp_path):
    card = read(tmp_path, {
        'source': 'fused', 'threshold': 0.25, 'samples': 4, 'temperature': 2, 'add_from': 0,
        'ends': ['nothing'],
        'aim': 'for (.*)', 'opposites': [['Red', 'green'], ['cup', 'plate']],
        'existence': {**ASK, 'assistant': 'At {row}, {column}: {aim}', 'max_tokens': 3},
        'fusion': FUSION})
    assert card == ConfidenceCard(
        ScoreSource.FUSED, 0.25, 4, 2.0, 0.0, ('nothing',), 'for (.*)',
        (('red', 'green'), ('cup', 'plate')),
        ExistenceCard(('Yes', 'yes'), ('No',), 'Is {question} at {box}?',
                      'At {row}, {column}: {aim}', 3),
        Fusion(-1.0, {'tokens': Term(2.5, -0.5), 'existence': Term(1.0, 0.0)}))
    assert needed_features(card) == {'existence'}


@pytest.mark.parametrize(('confidence', 'message'), [
    ({'source': 'token'}, 'unknown "token"; known: none, tokens, margin, existence, mask_iou, '
     'consistency, fused (nearest: "tokens")'),
    ({'source': 'fused'}, '"fused" needs "fusion", which ./run train scores makes'),
    ({'source': 'existence'}, '"existence" needs "existence"'),
    ({'source': 'consistency'}, '"consistency" needs "samples"'),
    ({'source': 'tokens', 'add_from': 0.5}, '"tokens" needs "samples"'),
    ({'samples': 2, 'add_from': 2}, 'add_from: expected a finite number from 0 to 1, got 2.0'),
    ({'source': 'fused', 'fusion': FUSION}, '"fused" needs "existence"'),  # one of its features
    ({'threshold': 1.5}, 'threshold: expected a finite number from 0 to 1, got 1.5'),
    ({'threshold': float('nan')}, 'threshold: expected a finite number from 0 to 1, got nan'),
    ({'threshold': '0.5'}, "threshold: expected a number, got '0.5'"),
    ({'threshold': True}, 'threshold: expected a number, got True'),
    ({'temperature': 0}, 'temperature: expected a finite number from 0.01 to 10, got 0.0'),
    ({'samples': 0}, 'samples: must be above 0, got 0'),
    ({'existence': {**ASK, 'user': 'Is {thing} there?'}}, 'existence.user: unknown "{thing}"'),
    ({'existence': {**ASK, 'user': 'Is {aim} there?'}}, 'aim: is what {aim} stands for: give it'),
    ({'aim': '('}, 'aim: is no regular expression'),
    ({'aim': 'a'}, 'aim: has no group in parentheses'),
    ({'opposites': ['red', 'green']}, 'opposites: expected a list of lists of words'),
    ({'opposites': [['red', 1]]}, 'opposites: expected a list of lists of words'),
    ({'existence': {'for_yes': ['a'], 'for_no': ['b']}},
     'existence: give "user", "assistant" or both'),
    ({'existence': {**ASK, 'for_yes': []}}, 'existence.for_yes: missing, expected a list of texts'),
    ({'existence': {**ASK, 'maximum': 3}}, 'existence: unknown key "maximum"'),
    ({'fusion': {'bias': 0, 'features': {'token': {'weight': 1, 'mean': 0}}}},
     'fusion.features.token: no such feature'),
    ({'fusion': {'bias': 0, 'features': {'tokens': {'weight': 1}}}},
     'fusion.features.tokens.mean: missing, expected a number'),
    ({'fusion': {'bias': float('inf'), 'features': {}}}, 'fusion.bias: expected a finite number'),
    ({'sorce': 'none'}, 'confidence: unknown key "sorce"'),
])
def test_what_is_wrong_is_named(tmp_path, confidence, message):
    with pytest.raises(PerceptionError) as caught:
        read(tmp_path, confidence)
    assert caught.value.status is Status.MODEL_UNAVAILABLE
    assert message in caught.value.message and '\n' not in caught.value.message


def test_what_is_filled_in_is_ordinary_text():
    values = dict.fromkeys(('question', 'box'), '{label}')
    assert fill_in('{question}, {box} {}', values) == '{label}, {label} {}'


@pytest.mark.parametrize('name', sorted(known_cards()))
def test_no_shipped_card_but_our_own_has_numbers_that_nobody_fitted(name):
    confidence = load_card(name).confidence
    if not name.startswith('sim_tiny'):
        assert confidence.fusion is None and confidence.threshold == 0
        assert confidence.source in (ScoreSource.NONE, ScoreSource.TOKENS)


def test_another_source_than_the_card_s(tmp_path):
    card = load_card(write_card(tmp_path, {'confidence': {'source': 'tokens', 'samples': 2}}))
    for source in ('none', 'margin', 'consistency'):
        changed = with_source(card, source)
        assert changed.confidence.source.name.lower() == source
        assert changed.confidence.samples == 2 and changed.reasoner == card.reasoner


@pytest.mark.parametrize(('source', 'message'), [
    ('fused', 'the section confidence of model card "mine" needs "fusion", which ./run train'),
    ('existence', 'the section confidence of model card "mine" needs "existence"'),
    ('mask', 'score source "mask": unknown; known: none, tokens'),
    ('', 'score source "": unknown'),
])
def test_a_source_that_the_card_has_nothing_for_is_refused(tmp_path, source, message):
    with pytest.raises(PerceptionError) as caught:
        with_source(load_card(write_card(tmp_path, {})), source)
    assert caught.value.status is Status.MODEL_UNAVAILABLE and message in caught.value.message
