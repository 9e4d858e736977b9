"""Time the rewards of 128 rollouts of 30 objects, and the matching of 30 x 30, beside plain loops.

Both sides score the same responses in the same run, in turn, and their results are compared. The
plain loop computes the terms pair by pair in Python and gives them to the same assignment. The
paper's figure, 0.5 ms for a matching of 30 objects, was measured on another machine.
"""
from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from vr_ros.evaluation.claims import Claim, print_claims, write_claims
from vr_ros.training.rewards.matching import TIE_BREAK, Targets, match_objects
from vr_ros.training.rewards.reference import reference_reward
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.scoring import Scorer
from vr_ros.training.rewards.unified import read_targets
from vr_ros.training.rewards.verifier import Rollout
from vr_ros.training.rewards.written_objects import read_objects

PAPER_MS, PAPER_OBJECTS = 0.5, 30
PROMPTS, PER_PROMPT = 16, 8
MATCH_TARGET_MS, BATCH_TARGET_MS = 0.15, 20.0
IMAGE_PX = 840
SENTENCES = 15


@dataclass(frozen=True)
class Batch:
    """Rollouts of several prompts, and the truths of each as text."""

    rollouts: list[Rollout]

    @property
    def truths(self) -> list[str]:
        return [rollout.sample.ground_truth for rollout in self.rollouts]


def make_batch(objects: int, seed: int, verifier: str = 'visionreasoner') -> Batch:
    """Draw true objects and answers that are some pixels off, in another order.

    Objects have a box and a point, as VisionReasoner writes them, and for detection a label.
    """
    more = {'label': 'mug'} if verifier == 'detection' else {}
    rng = np.random.default_rng(seed)
    thought = ' '.join(f'Object {n} is on the left of what was named before.'
                       for n in range(SENTENCES))
    rollouts = []
    for prompt in range(PROMPTS):
        half = rng.integers(8, 60, (objects, 2))
        centres = rng.integers(half, IMAGE_PX - half)
        boxes = np.concatenate((centres - half, centres + half), axis=1)
        sample = Sample(verifier, _answer(boxes, centres, more), 'bench', str(prompt))
        for _ in range(PER_PROMPT):
            order = rng.permutation(objects)
            answer = _answer(boxes[order] + rng.integers(-6, 7, (objects, 4)),
                             centres[order] + rng.integers(-6, 7, (objects, 2)), more)
            rollouts.append(Rollout(
                f'<think>{thought}</think>\n<answer>{answer}</answer>', sample, progress=0.5))
    return Batch(rollouts)


def _answer(boxes: np.ndarray, points: np.ndarray, more: dict[str, str]) -> str:
    return json.dumps([
        {'bbox_2d': box, 'point_2d': point, **more}
        for box, point in zip(boxes.tolist(), points.tolist(), strict=True)])


def match_by_loops(boxes: np.ndarray, points: np.ndarray, targets: Targets) -> float:
    """Do what match_objects does, pair by pair.

    :return: the sum of the terms of the best matching.
    """
    tolerances = targets.tolerances
    worth = np.zeros((len(boxes), len(targets)))
    terms = np.zeros_like(worth)
    for row, ((x0, y0, x1, y1), (x, y)) in enumerate(
            zip(boxes.tolist(), points.tolist(), strict=True)):
        for column, ((a, b, c, d), (v, w)) in enumerate(
                zip(targets.boxes.tolist(), targets.points.tolist(), strict=True)):
            common = max(0.0, min(x1, c) - max(x0, a)) * max(0.0, min(y1, d) - max(y0, b))
            area = (c - a) * (d - b)
            union = (x1 - x0) * (y1 - y0) + area - common
            iou = common / union if union > 0 else 0.0
            side = math.sqrt(area)
            apart = abs(x0 - a) + abs(y0 - b) + abs(x1 - c) + abs(y1 - d)
            near = apart / 4 < max(tolerances.box * side, tolerances.box_floor_px)
            reach = max(tolerances.point * side, tolerances.point_floor_px)
            pointed = (
                (x - v) ** 2 + (y - w) ** 2 < reach ** 2 and x0 <= x <= x1 and y0 <= y <= y1)
            terms[row, column] = iou + near + pointed
            worth[row, column] = terms[row, column] + TIE_BREAK * iou
    return float(terms[linear_sum_assignment(worth, maximize=True)].sum())


def median_ms(
    runs: dict[str, Callable[[], object]], repeats: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Time functions in turn, so that what else the machine does falls on all alike.

    :return: median milliseconds of each by the clock, and of the processor's time.
    """
    clock: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            started, busy = time.perf_counter(), time.thread_time()
            run()
            clock[name].append((time.perf_counter() - started) * 1e3)
            processor[name].append((time.thread_time() - busy) * 1e3)
    return tuple({name: statistics.median(values) for name, values in times.items()}
                 for times in (clock, processor))


def measure(objects: int, seed: int, repeats: int) -> tuple[list[Claim], dict[str, object]]:
    """Compare both sides, then time them.

    :return: claims, and details for the report.
    """
    batch = make_batch(objects, seed)
    detection = make_batch(objects, seed, 'detection')
    rollouts, truths = batch.rollouts, batch.truths
    read = [(read_objects(rollout.response), read_targets(truth))
            for rollout, truth in zip(rollouts, truths, strict=True)]
    differences = sum(
        abs(match_objects(found.boxes, found.points, targets).total
            - match_by_loops(found.boxes, found.points, targets)) > 1e-9
        for found, targets in read)
    scorer = Scorer()
    load_before = os.getloadavg()[0]
    ms, busy_ms = median_ms({
        'batch': lambda: scorer.score_all(rollouts),
        'match': lambda: [match_objects(found.boxes, found.points, targets)
                          for found, targets in read],
        'loops': lambda: [match_by_loops(found.boxes, found.points, targets)
                          for found, targets in read],
        'reference': lambda: [reference_reward(rollout.response, truth)
                              for rollout, truth in zip(rollouts, truths, strict=True)],
        'detection': lambda: scorer.score_all(detection.rollouts),
    }, repeats)
    number = len(rollouts)
    match_ms, loops_ms = ms['match'] / number, ms['loops'] / number
    is_promised = objects == PAPER_OBJECTS
    shape = f'{objects} x {objects}'
    claims = [
        Claim(f'{number} rollouts of {objects} objects, unified', ms['batch'], 'ms',
              BATCH_TARGET_MS if is_promised else None, 'lower'),
        Claim('the same, time of the processor', busy_ms['batch'], 'ms', None, 'lower'),
        Claim('the same by the clock, reference', ms['reference'], 'ms', None, 'lower'),
        Claim('the same by the clock, detection', ms['detection'], 'ms', None, 'lower'),
        Claim(f'matching of {shape}: terms and assignment', match_ms, 'ms',
              MATCH_TARGET_MS if is_promised else None, 'lower'),
        Claim('the same, by plain loops', loops_ms, 'ms', None, 'lower'),
        Claim('times faster than plain loops', loops_ms / match_ms, 'x', None, 'higher'),
        Claim('matchings worth another sum than by plain loops', differences, 'of them', 0,
              'lower'),
    ]
    if is_promised:
        claims.append(Claim(f"times faster than the paper's {PAPER_MS} ms on another machine",
                            PAPER_MS / match_ms, 'x', 1.0, 'higher'))
    details = {'objects': objects, 'rollouts': number, 'repeats': repeats,
               'load_before': round(load_before, 2), 'load_after': round(os.getloadavg()[0], 2)}
    return claims, details


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--objects', type=int, default=PAPER_OBJECTS,
                        help='of each prompt and rollout')
    parser.add_argument('--repeats', type=int, default=15, help='the median of these counts')
    parser.add_argument('--seed', type=int, default=0, help='of the objects')
    options = parser.parse_args()
    if not 1 <= options.objects <= 300:
        parser.error('--objects is from 1 to 300')
    if options.repeats < 1:
        parser.error('--repeats is at least 1')
    # One core: the assignment and numpy's small arrays use no more, and the claims are for one.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    started = time.perf_counter()
    claims, details = measure(options.objects, options.seed, options.repeats)
    print_claims(claims, f'Rewards, one core, load {details["load_before"]}')
    if options.json:
        write_claims(
            options.json, claims, seed=options.seed, seconds=time.perf_counter() - started,
            details=details)
    return 0 if all(claim.value is not None for claim in claims) else 1


if __name__ == '__main__':
    sys.exit(main())
