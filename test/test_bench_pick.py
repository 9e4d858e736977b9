"""What the benchmark of picking counts as right, as wrong and as nothing."""
from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vr_ros.core.types import Detection, Perception, PerceptionError, Size, Status
from vr_ros.sim.instructions import answer_key
from vr_ros.sim.renderer import render_scene

SEED = 1_000_002


@pytest.fixture(scope='module')
def bench() -> ModuleType:
    path = Path(__file__).parents[1] / 'benchmarks' / 'bench_pick.py'
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


class Stub:
    """A perceiver that means the right object, another one, the table's corner, or fails."""

    def __init__(self, means: str) -> None:
        self._means = means

    def perceive(self, rgb: np.ndarray, text: str) -> Perception:
        if self._means == 'error':
            raise PerceptionError(Status.MODEL_ERROR, 'broken')
        truth = render_scene(SEED).truth
        (right,) = answer_key(text, truth).target_ids
        chosen = [o for o in truth.targets if (o.id == right) == (self._means == 'right')][:1]
        found = tuple(Detection(0, o.box, mask=o.mask) for o in chosen)
        return Perception(Status.OK, detections=() if self._means == 'none' else found,
                          image_size=Size(640, 480))


@pytest.mark.parametrize(('means', 'outcome', 'why_not', 'meant_right'), [
    ('right', 'right', '', True),
    ('another', 'wrong', '', False),
    ('none', 'nothing', 'OK', None),
    ('error', 'nothing', 'MODEL_ERROR', None),
])
def test_the_model_is_judged_by_what_hangs_from_the_gripper(
        bench: ModuleType, means: str, outcome: str, why_not: str, meant_right: Any) -> None:
    case = bench.run_case(Stub(means), SEED)
    attempt = case.attempts['model']
    assert (attempt.outcome, attempt.why_not) == (outcome, why_not)
    assert attempt.meant_right is meant_right
    assert bool(attempt.lifted) == (outcome != 'nothing')
    # The other two ways ask no model.
    assert case.attempts['mask'].outcome == case.attempts['position'].outcome == 'right'
    values = {claim.name: claim.value for claim in bench.claims_of([case])}
    shares = [values[f'asked the model: {words}'] for words in (
        'right object lifted', 'wrong object lifted', 'nothing lifted')]
    assert shares == [float(outcome == name) for name in ('right', 'wrong', 'nothing')]
    assert values['asked the model: no answer or no position'] == float(means in ('none', 'error'))


def test_a_scene_with_nothing_to_ask_for_is_no_case(
        bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, 'draw_request', lambda *_: None)
    assert bench.run_case(Stub('right'), SEED) is None
