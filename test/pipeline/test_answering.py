"""Several instructions answered together are what they are alone."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vr_ros.core.types import Perception, PerceptionError, Status, Task
from vr_ros.models import device as module
from vr_ros.models.device import pick_device
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.sim.renderer import render_scene

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def perceiver():
    perceiver = Perceiver.from_card('sim_tiny', device='cpu')
    yield perceiver
    perceiver.close()


def comparable(perception: Perception) -> Perception:
    """Leave times out, and the last digits of what is computed."""
    return dataclasses.replace(
        perception, timing=perception.timing.prompt_tokens, detections=tuple(
            dataclasses.replace(
                d, mask_score=round(d.mask_score, 3),
                score=None if np.isnan(d.score) else round(d.score, 3))
            for d in perception.detections))


def test_together_is_one_by_one(perceiver):
    frames = [render_scene(seed, count=3) for seed in (1_000_003, 1_000_011)]
    questions = [
        (frames[0].rgb, 'find all objects', Task.AUTO),
        (frames[1].rgb, 'how many objects are there?', Task.AUTO),
        (frames[1].rgb, 'what colour is the leftmost object?', Task.VQA),
        (frames[1].rgb, 'find all objects', Task.DETECTION),
        (frames[0].rgb, ' ', Task.AUTO),                              # nothing is asked
        (frames[0].rgb[:, :, :1], 'find all objects', Task.AUTO),     # of a picture without colour
    ]
    together = perceiver.perceive_batch(questions)
    assert [p.status for p in together[4:]] == [Status.BAD_INSTRUCTION, Status.BAD_IMAGE]
    assert all(p.status_message for p in together[4:])
    alone = [perceiver.perceive(*question) for question in questions[:4]]
    assert [comparable(p) for p in together[:4]] == [comparable(p) for p in alone]
    assert [p.task for p in alone] == [Task.DETECTION, Task.COUNTING, Task.VQA, Task.DETECTION]
    assert all(d.mask for p in together for d in p.detections) and together[0].count == 3
    assert together[2].answer and not together[2].detections
    assert together[0].timing.total_ms > together[0].timing.segment_ms > 0


def test_nothing_asked_is_nothing_answered(perceiver):
    assert perceiver.perceive_batch([]) == []
    (only,) = perceiver.perceive_batch([(np.zeros((0, 0, 3), np.uint8), 'x', Task.AUTO)])
    assert only.status is Status.BAD_IMAGE


@pytest.mark.parametrize(('wanted', 'gpus', 'expected'), [
    ('auto', 0, 'cpu'), ('auto', 2, 'cuda'), ('cpu', 2, 'cpu'), ('cuda', 1, 'cuda'),
    ('cuda:1', 2, 'cuda:1'),
])
def test_a_device_that_is_there(monkeypatch, wanted, gpus, expected):
    monkeypatch.setattr(module, 'count_gpus', lambda: gpus)
    assert pick_device(wanted) == expected


@pytest.mark.parametrize(('wanted', 'gpus', 'words'), [
    ('cuda', 0, "no device 'cuda': this torch"),
    ('cuda:2', 2, 'can use 2 GPUs'),
    ('gpu', 2, "unknown device 'gpu'"),
    ('meta', 2, "unknown device 'meta'"), ('xpu', 2, "unknown device 'xpu'"),
])
def test_a_device_that_is_not_there_is_named(monkeypatch, wanted, gpus, words):
    monkeypatch.setattr(module, 'count_gpus', lambda: gpus)
    with pytest.raises(PerceptionError, match=words) as caught:
        pick_device(wanted)
    assert caught.value.status is Status.MODEL_UNAVAILABLE
