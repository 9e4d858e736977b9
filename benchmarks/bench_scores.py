"""Compare sources of scores on held-out scenes of the simulator, and say what they cost.

The boxes of the same answers are ranked by their area, as VisionReasoner's evaluation has it, by a
constant, by each source, and by the fusion of the model card: AP, AUROC (right at IoU 0.5), ECE.
Then the same with the objects that only answers drawn by chance name, by a second card. Then what
thresholds take away that lose 0.5 % of the right objects on scenes apart, also from answers
to questions about what is not there; then the time that an answer takes with each source, in turns.
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

from vr_ros.core.confidence import Fusion
from vr_ros.core.types import PerceptionError, ScoreSource
from vr_ros.datasets.sample import DataSetError
from vr_ros.evaluation.claims import Claim, print_claims, write_claims
from vr_ros.evaluation.scores.fit import add_scene_options, collect
from vr_ros.evaluation.scores.records import CALIBRATION_SEED, SAMPLES, Judged, absent_scenes
from vr_ros.evaluation.scores.table import (
    Row,
    gain,
    own_only,
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
# Share of the right objects that a threshold may lose where it is chosen: elsewhere it loses more.
CHOSEN_LOST = 0.005
WORDS = 'find all objects'


class NoRecorder:
    """In place of the recorder of the best tokens: keeps nothing."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores

    def results(self, steps: Sequence[int]) -> list[TopTokens]:
        return [TopTokens(np.zeros((n, 1), int), np.zeros((n, 1))) for n in steps]


def print_table(rows: list[Row], title: str) -> None:
    """Print the figures of all sources."""
    shown = Table('score', title=title)
    for figure in rows[0].figures:
        shown.add_column(figure.name, justify='right')
    for row in rows:
        shown.add_row(row.source, *(
            '-' if f.value is None else f'{f.value:.3f}' + (
                '' if f.low is None or f.high is None else f' ({f.low:.3f}-{f.high:.3f})')
            for f in row.figures))
    Console().print(shown)


def costs(perceiver: Perceiver, images: list[np.ndarray]) -> dict[str, list[float]]:
    """Time whole answers, in turns: on a CPU by its own time, which other programs do not take.

    :return: milliseconds of each image by variant.
    """
    is_on_cpu = perceiver.segmenter is None or perceiver.segmenter.device.type == 'cpu'
    clock = time.process_time if is_on_cpu else time.perf_counter
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
                started = clock()
                perceiver.perceive(image, WORDS)
                times[name].append((clock() - started) * 1e3)
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


@dataclasses.dataclass(frozen=True)
class Run:
    """Some of the boxes of all answers, and their scores by each source.

    :param apart: the same on the scenes that thresholds are chosen on.
    :param absent: answers about what is not there, besides those among judged.
    """

    title: str
    judged: list[Judged]
    apart: list[Judged]
    fusion: Fusion | None
    absent: list[Judged] = dataclasses.field(default_factory=list)

    def lists(self, judged: list[Judged]) -> dict[str, list[np.ndarray]]:
        return score_lists(judged, {} if self.fusion is None else {'fused': self.fusion})

    def removal_claims(self) -> Iterator[Claim]:
        """Say what thresholds remove that were chosen on scenes apart."""
        every = self.judged + self.absent
        lists, apart = self.lists(every), self.lists(self.apart)
        for name in ('yes or no alone', 'existence', 'fused'):
            if name not in lists or not self.apart:
                continue
            threshold = threshold_for(self.apart, apart[name], CHOSEN_LOST)
            gone = removal(every, lists[name], threshold)
            about = f'{self.title}, {name} below {threshold:.2g}'
            yield Claim(f'{about}: hallucinated objects removed, of {gone.hallucinated_of}',
                        gone.hallucinated, 'share', REMOVED)
            yield Claim(f'{about}: right objects lost, of {gone.true_of}', gone.true, 'share',
                        MOST_LOST, 'lower')
            yield Claim(f'{about}: absence recognised', gone.absence, 'share')
        plain = removal(every, lists['area'], -1.0)
        yield Claim(f'{self.title}: absence recognised without a threshold', plain.absence, 'share')


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_scene_options(parser, HELDOUT_SEED, 500)
    parser.add_argument('--others', metavar='CARD',
                        help='card of the same model with the fusion for objects that other answers'
                        ' name (default: sim_tiny_votes for sim_tiny)')
    parser.add_argument('--apart', type=int, default=500,
                        help='scenes for choosing thresholds (default: %(default)s)')
    parser.add_argument('--apart-seed', type=int, default=CALIBRATION_SEED,
                        help='of the first of them (default: %(default)s)')
    parser.add_argument('--absent', type=int, default=100,
                        help='scenes that are asked for what is not there (default: %(default)s)')
    parser.add_argument('--timed', type=int, default=60,
                        help='images on which time is measured (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=1000,
                        help='of the bootstrap (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=1, help='of torch (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    options = parser.parse_args()
    if min(options.scenes, options.threads) < 1 or min(
            options.apart, options.absent, options.timed, options.rounds, options.first_seed) < 0:
        parser.error('--scenes and --threads are at least 1, the others at least 0')
    if options.others is None:
        options.others = 'sim_tiny_votes' if options.model == 'sim_tiny' else options.model
    if options.data:
        # What the simulator shows says nothing of another data set.
        options.apart = options.absent = 0
    os.environ.setdefault('MUJOCO_GL', 'egl')
    torch.set_num_threads(options.threads)
    started = time.perf_counter()
    try:
        fusions = [load_card(name).confidence.fusion for name in (options.model, options.others)]
        judged = collect(options)
        apart = collect(argparse.Namespace(**vars(options) | {
            'first_seed': options.apart_seed, 'scenes': options.apart})) if options.apart else []
        absent = collect(options, absent_scenes(options.first_seed, options.absent))
        perceiver = Perceiver.from_card(options.model, options.device) if options.timed else None
    except (PerceptionError, DataSetError) as error:
        print(f'bench_scores: {error}', file=sys.stderr)
        return 2
    runs = [Run('own boxes', own_only(judged), own_only(apart), fusions[0], absent),
            Run('with other answers', judged, apart, fusions[1])]
    claims: list[Claim] = []
    intervals: dict[str, dict[str, list[float | None]]] = {}
    for run in runs:
        rows = table(run.judged, run.lists(run.judged), options.rounds)
        print_table(rows, f'{run.title[0].upper()}{run.title[1:]}')
        claims += [
            Claim(f'{run.title}: {figure.name} by {row.source}', figure.value, 'share',
                  better=figure.better,
                  reason='' if figure.value is not None else 'these are no probabilities')
            for row in rows for figure in row.figures]
        intervals |= {f'{run.title}: {row.source}': {f.name: [f.low, f.high] for f in row.figures}
                      for row in rows}
    shown = len(claims)
    by_area = runs[0].lists(runs[0].judged)['area']
    for run in runs:
        if run.fusion is None:
            continue
        value, low, high = gain(run.judged, run.lists(run.judged)['fused'], runs[0].judged, by_area,
                                max(options.rounds, 1))
        claims.append(Claim(
            f'AP@[.5:.95] of fused, {run.title}, over area of own boxes', value, 'share', GAIN_AP,
            reason='' if value is not None else 'nothing was asked for that is there'))
        intervals[f'gain of fused, {run.title}'] = {'box AP@[.5:.95]': [low, high]}
        claims += run.removal_claims()
    if perceiver is not None:
        images = [render_scene(options.first_seed + i).rgb for i in range(options.timed)]
        costs(perceiver, images[:2])  # the first calls load what the others find loaded
        claims += cost_claims(costs(perceiver, images))
    print_claims(claims[shown:], 'Scores')
    if options.json:
        write_claims(options.json, claims, seed=options.first_seed,
                     seconds=time.perf_counter() - started, details={
                         'answers': len(judged), 'answers about what is not there': len(absent),
                         'intervals': intervals} | {
                             f'objects, {run.title}': sum(len(one.found) for one in run.judged)
                             for run in runs})
    return 0


if __name__ == '__main__':
    sys.exit(main())
