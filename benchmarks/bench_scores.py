"""Compare sources of scores on held-out scenes of the simulator, and say what they cost.

The same boxes are ranked by their area, as VisionReasoner's evaluation has it, by a constant, by
each source, and by the fusion of the model card: AP, AUROC (right at IoU 0.5), ECE. Then what
thresholds take away that lose 2 % of the right objects, chosen on scenes apart; then the time that
an answer takes with each source, in turns.
"""
from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from vr_ros.core.types import PerceptionError, ScoreSource
from vr_ros.evaluation.claims import Claim, print_claims, write_claims
from vr_ros.evaluation.score_fit import add_scene_options, collect
from vr_ros.evaluation.score_records import CALIBRATION_SEED, SAMPLES, Judged
from vr_ros.evaluation.score_table import (
    Row,
    gain,
    removal,
    score_lists,
    table,
    threshold_for,
)
from vr_ros.models import qwen_vl
from vr_ros.models.card import load_card
from vr_ros.models.card_types import ConfidenceCard
from vr_ros.models.top_tokens import TopTokens
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.pipeline.scoring import Scorer
from vr_ros.sim.instructions import HELDOUT_SEED
from vr_ros.sim.renderer import render_scene

# Targets: AP over area, shares of removed objects, and time.
GAIN_AP, REMOVED, MOST_LOST, RECORDING = 0.07, 0.80, 0.02, 0.02
WORDS = 'find all objects'


class NoRecorder:
    """In place of the recorder of the best tokens: keeps nothing."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores

    def results(self, steps: Sequence[int]) -> list[TopTokens]:
        return [TopTokens(np.zeros((n, 1), int), np.zeros((n, 1))) for n in steps]


def print_table(rows: list[Row]) -> None:
    """Print the figures of all sources."""
    shown = Table('score', title='The same boxes by each score')
    for figure in rows[0].figures:
        shown.add_column(figure.name, justify='right')
    for row in rows:
        shown.add_row(row.source, *(
            '-' if f.value is None else f'{f.value:.3f}' + (
                '' if f.low is None or f.high is None else f' ({f.low:.3f}-{f.high:.3f})')
            for f in row.figures))
    Console().print(shown)


def costs(perceiver: Perceiver, images: list[np.ndarray]) -> dict[str, list[float]]:
    """Time whole answers, in turns.

    :return: milliseconds of each image by variant.
    """
    card = dataclasses.replace(
        perceiver.card.confidence, samples=perceiver.card.confidence.samples or SAMPLES)
    variants = {'nothing recorded': ConfidenceCard(), 'none': ConfidenceCard()} | {
        source.name.lower(): dataclasses.replace(card, source=source, threshold=0.0)
        for source in list(ScoreSource)[1:]
        if not (source is ScoreSource.FUSED and card.fusion is None)
        and not (source is ScoreSource.EXISTENCE and card.existence is None)}
    times: dict[str, list[float]] = {name: [] for name in variants}
    recorder = qwen_vl.TopTokenRecorder
    for place, image in enumerate(images):
        # Each goes first in turn.
        names = list(variants)
        for name in names[place % len(names):] + names[:place % len(names)]:
            perceiver.scorer = Scorer(variants[name])
            qwen_vl.TopTokenRecorder = (  # type: ignore[misc]
                NoRecorder if name == 'nothing recorded' else recorder)
            try:
                started = time.perf_counter()
                perceiver.perceive(image, WORDS)
                times[name].append((time.perf_counter() - started) * 1e3)
            finally:
                qwen_vl.TopTokenRecorder = recorder  # type: ignore[misc]
    return times


def cost_claims(times: dict[str, list[float]]) -> Iterator[Claim]:
    """Compare the same images: median of the differences, as a share of the plain answer."""
    plain = np.array(times['nothing recorded'])
    yield Claim('plain answer, median', float(np.median(plain)), 'ms')
    for name, values in times.items():
        if name != 'nothing recorded':
            shares = np.array(values) / plain - 1
            is_free = name in ('none', 'tokens', 'margin', 'mask_iou')
            yield Claim(f'time added with source {name}', float(np.median(shares)), 'share',
                        RECORDING if is_free else None, 'lower')


def removal_claims(
    judged: list[Judged], apart: list[Judged], lists: dict[str, list], lists_apart: dict[str, list]
) -> Iterator[Claim]:
    """Say what thresholds remove that were chosen on scenes apart."""
    for name in ('existence', 'fused'):
        if name not in lists or not apart:
            continue
        threshold = threshold_for(apart, lists_apart[name], MOST_LOST)
        gone = removal(judged, lists[name], threshold)
        yield Claim(f'{name} below {threshold:.3g}: hallucinated objects removed, of '
                    f'{gone.hallucinated_of}', gone.hallucinated, 'share', REMOVED)
        yield Claim(f'{name} below {threshold:.3g}: right objects lost, of {gone.true_of}',
                    gone.true, 'share', MOST_LOST, 'lower')


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_scene_options(parser, HELDOUT_SEED, 500)
    parser.add_argument('--apart', type=int, default=500,
                        help='scenes for choosing thresholds (default: %(default)s)')
    parser.add_argument('--apart-seed', type=int, default=CALIBRATION_SEED,
                        help='of the first of them (default: %(default)s)')
    parser.add_argument('--timed', type=int, default=60,
                        help='images on which time is measured (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=1000,
                        help='of the bootstrap (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=1, help='of torch (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    options = parser.parse_args()
    if min(options.scenes, options.threads) < 1 or min(
            options.apart, options.timed, options.rounds, options.first_seed) < 0:
        parser.error('--scenes and --threads are at least 1, the others at least 0')
    os.environ.setdefault('MUJOCO_GL', 'egl')
    torch.set_num_threads(options.threads)
    started = time.perf_counter()
    try:
        card = load_card(options.model).confidence
        judged = collect(options)
        apart = collect(argparse.Namespace(**vars(options) | {
            'first_seed': options.apart_seed, 'scenes': options.apart})) if options.apart else []
        perceiver = Perceiver.from_card(options.model, options.device) if options.timed else None
    except PerceptionError as error:
        print(f'bench_scores: {error.message}', file=sys.stderr)
        return 2
    fusions = {'fused': card.fusion} if card.fusion is not None else {}
    lists, lists_apart = score_lists(judged, fusions), score_lists(apart, fusions)
    rows = table(judged, lists, options.rounds)
    print_table(rows)
    claims = [
        Claim(f'{figure.name} by {row.source}', figure.value, 'share', better=figure.better,
              reason='' if figure.value is not None else 'these are no probabilities')
        for row in rows for figure in row.figures]
    if fusions:
        value, low, high = gain(judged, lists, 'fused', rounds=max(options.rounds, 1))
        claims.append(Claim('AP@[.5:.95] of fused over area', value, 'share', GAIN_AP))
        Console().print(f'fused over area: {value:+.3f} ({low:+.3f} to {high:+.3f})')
    claims += removal_claims(judged, apart, lists, lists_apart)
    if perceiver is not None:
        images = [render_scene(options.first_seed + i).rgb for i in range(options.timed)]
        costs(perceiver, images[:2])  # the first calls load what the others find loaded
        claims += cost_claims(costs(perceiver, images))
    print_claims(claims[len(rows) * len(rows[0].figures):], 'Scores')
    if options.json:
        intervals = {row.source: {f.name: [f.low, f.high] for f in row.figures} for row in rows}
        write_claims(options.json, claims, seed=options.first_seed,
                     seconds=time.perf_counter() - started, details={
                         'answers': len(judged), 'objects': sum(len(one.found) for one in judged),
                         'intervals': intervals})
    return 0


if __name__ == '__main__':
    sys.exit(main())
