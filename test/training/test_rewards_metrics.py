"""Metrics apart for each source, by hand, and the words of reflection."""
from __future__ import annotations

import json
import math

import pytest

from vr_ros.training.rewards.diagnostics import REFLECTION_WORDS, reflection_words
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.scoring import Failure, Scorer
from vr_ros.training.rewards.source_metrics import source_metrics
from vr_ros.training.rewards.verifier import Rollout

BOXES = [{'bbox_2d': [0, 0, 100, 100], 'point_2d': [50, 50], 'label': 'mug'}]


@pytest.mark.parametrize(('response', 'whole', 'anywhere'), [
    ('Wait, let me re-check.', ('re-check', 'wait'), ('re-check', 'wait')),
    ('The waiter saw a yeti.', (), ('wait', 'yet')),            # as the released code finds them
    ('Check  again', (), ()),                                   # two blanks
    ('I check again.', ('check again',), ('check again',)),
    ('reevaluation', ('reevaluation',), ('reevaluation',)),
    ('', (), ()),
])
def test_reflection_words(response, whole, anywhere) -> None:
    assert reflection_words(response) == whole
    assert reflection_words(response, anywhere=True) == anywhere


def test_metrics_by_hand() -> None:
    count, boxes = Sample('counting', '3', 'count'), Sample('visionreasoner', json.dumps(BOXES),
                                                            'lvis')
    rollouts = [
        Rollout('<think>Wait.</think><answer>3</answer>', count, tokens=10),
        Rollout('<think>a</think><answer>3</answer>', count, tokens=20),
        Rollout('<think>Wait, yet.</think><answer>9</answer>', count, tokens=60, truncated=True),
        Rollout('<think>a</think><answer>9</answer>', Sample('counting', 'many', 'count')),
        Rollout(f'<think>a</think><answer>{json.dumps(BOXES)}</answer>', boxes),
        Rollout('<think>a</think><answer>[]</answer>', boxes, truncated=True),
    ]
    outcomes = Scorer().score_all(rollouts)
    assert isinstance(outcomes[3], Failure)
    found = source_metrics(rollouts, outcomes)
    expected = {
        'rews_accuracy/count': 2 / 3, 'rews_format/count': 1, 'rews_correct/count': 2 / 3,
        'rews_exact_count/count': 2 / 3, 'rews_final/count': (2 + 0.1 / 1.1) / 3,
        'failures/count': 1 / 4, 'failures/lvis': 0,
        'response_length_count/mean_length': 30,
        'response_length_count/length_clip_ratio': 1 / 3,
        'response_length_count/mean_correct_length': 15,
        'response_length_count/length_correct_clip_ratio': 0,
        'response_length_count/mean_wrong_length': 60,
        'response_length_count/length_wrong_clip_ratio': 1,
        'reflection_ratios_count/reflection_ratio': 2 / 3,
        'reflection_ratios_count/reflection_ratio_in_correct_answers': 1 / 2,
        'reflection_ratios_count/reflection_ratio_in_incorrect_answers': 1,
        'reflection_ratios_count/correct_ratio_in_reflection_texts': 1 / 2,
        'reflection_ratios_count/correct_ratio_in_no_reflection_texts': 1,
        'reflection_words_count/wait': 2 / 3, 'reflection_words_count/yet': 1 / 3,
        'reflection_words_count/verify': 0,
        'rews_box_accuracy/lvis': 1.5, 'rews_total/lvis': (7 + 4) / 2, 'rews_iou_99/lvis': 0.5,
        'rews_precision_50/lvis': 0.5, 'rews_recall_75/lvis': 0.5,
        'response_length_lvis/length_clip_ratio': 1 / 2,
        'reflection_ratios_lvis/reflection_ratio': 0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert math.isnan(found['response_length_lvis/mean_length'])     # lengths are not known
    assert math.isnan(found['reflection_ratios_lvis/correct_ratio_in_reflection_texts'])
    assert 'rews_total/count' not in found
    assert len([name for name in found if name.startswith('reflection_words_count')]) == len(
        REFLECTION_WORDS)


def test_keys_are_the_same_whatever_came() -> None:
    """Trainers on several machines want the same keys everywhere."""
    scorer = Scorer()
    names, sources = scorer.registry.part_names, ('count', 'lvis')
    rollouts = [Rollout('', Sample('counting', '3', 'count'))]
    one = source_metrics(rollouts, scorer.score_all(rollouts), sources=sources, part_names=names)
    none = source_metrics([], [], sources=sources, part_names=names)
    assert one.keys() == none.keys()
    assert all(math.isnan(value) for value in none.values())
