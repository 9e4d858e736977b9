"""Samples per second when the reasoner answers 1, 4 or 8 questions side by side.

All sizes answer the same questions about simulated scenes in the same run, in turn, so that what
else the machine does falls on all alike; their texts are compared. On a processor it computes with
one thread, as each of several processes does, and the processor's own time is told, too: it hardly
depends on who else is at work. The embedded model is so small that much of its time goes into the
calls themselves: what a batch saves here says little about a model of billions of parameters on a
GPU, where reading the weights is shared.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict

import torch

from vr_ros.core.types import Perception, Task
from vr_ros.datasets.sim_scenes import SimScenes
from vr_ros.evaluation.claims import Claim, print_claims, write_claims
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.sim.instructions import HELDOUT_SEED

SIZES = (1, 4, 8)
PER_SCENE = 2


def measure(model: str, device: str, rounds: int) -> tuple[list[Claim], dict[str, object]]:
    """Answer as many questions per round as the largest batch holds, in batches of every size.

    :return: claims, and counts for the report.
    """
    scenes = SimScenes((rounds + 1) * max(SIZES) // PER_SCENE, PER_SCENE, HELDOUT_SEED, 'heldout')
    samples = [scenes.load(place) for place in range(len(scenes.ids))]
    questions = [(sample.image, sample.instruction, Task.AUTO) for sample in samples]
    perceiver = Perceiver.from_card(model, device)
    seconds: dict[int, float] = defaultdict(float)
    busy: dict[int, float] = defaultdict(float)
    texts: dict[int, list[str]] = defaultdict(list)
    for begin in range(0, len(questions), max(SIZES)):
        portion = questions[begin:begin + max(SIZES)]
        for size in SIZES:
            started, worked = time.perf_counter(), time.process_time()
            answers: list[Perception] = []
            for first in range(0, len(portion), size):
                answers += perceiver.perceive_batch(portion[first:first + size])
            if begin:  # the first round warms up
                seconds[size] += time.perf_counter() - started
                busy[size] += time.process_time() - worked
                texts[size] += [answer.raw_text for answer in answers]
    number = rounds * max(SIZES)
    claims = [Claim(f'batch {size}', number / seconds[size], 'samples/s') for size in SIZES]
    claims += [
        Claim(f'batch {size}: times as fast as 1', seconds[1] / seconds[size], 'x')
        for size in SIZES[1:]]
    claims += [
        Claim(f'batch {size}: processor time per sample', busy[size] / number * 1e3, 'ms',
              better='lower')
        for size in SIZES]
    claims += [
        Claim(f'batch {size}: texts that differ from those of 1',
              sum(one != other for one, other in zip(texts[1], texts[size], strict=True)),
              'texts', better='lower')
        for size in SIZES[1:]]
    return claims, {'model': model, 'device': device, 'samples': number}


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--rounds', type=int, default=5, help=f'of {max(SIZES)} questions')
    parser.add_argument('--model', default='sim_tiny', help='model card (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda')
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error('--rounds is at least 1')
    torch.set_num_threads(1)
    started = time.perf_counter()
    claims, details = measure(options.model, options.device, options.rounds)
    print_claims(claims, f'{options.model}, side by side')
    if options.json:
        write_claims(
            options.json, claims, seed=HELDOUT_SEED, seconds=time.perf_counter() - started,
            details=details)
    return 0


if __name__ == '__main__':
    sys.exit(main())
