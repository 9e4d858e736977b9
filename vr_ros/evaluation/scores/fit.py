"""Fit the fusion of scores for a model's card, on scenes apart from training and examination, or on
a part of a data set."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from vr_ros.core.confidence import FEATURES, FREE, OWN, Fusion, Term
from vr_ros.core.types import PerceptionError
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSetError
from vr_ros.evaluation.scores.records import (
    CALIBRATION_SEED,
    Judged,
    Source,
    judged_all,
    samples,
    scenes,
)
from vr_ros.evaluation.scores.table import own_only, right_shares
from vr_ros.sim.instructions import HELDOUT_SEED

SCENES = 500
# Of the squared weights of standardised features: what little data says weighs little.
STRENGTH = 1.0


class FitError(ValueError):
    """There is nothing to fit."""


def fit_fusion(judged: Sequence[Judged], names: Sequence[str]) -> Fusion:
    """Fit a logistic function of features, in two steps.

    Its direction is fitted to the share of the IoU thresholds 0.5, 0.55, … 0.95 at which an object
    is right: a closer box is to rank above a loose one. Its scale is then fitted to whether the
    object is right at IoU 0.5, of which the score is the probability. Features are standardised for
    the fit, so that its regularisation treats them alike; the weights are those of the features as
    they are.

    :param names: of the features; those that say nothing on these answers are left out.
    :raises FitError: if no object is right or none is wrong, or scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise FitError("needs scikit-learn: pip install '.[train]'") from error
    some = [one for one in judged if len(one.found)]
    shares = np.concatenate([right_shares(one) for one in some] or [np.empty((0,))])
    right = shares > 0
    if not 0 < right.sum() < len(right):
        raise FitError(
            f'{len(right)} objects, {int(right.sum())} of them right: it takes right and wrong ones'
        )
    known, means, scales, table = _standardised(some, names)
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(
        np.vstack((table, table)), np.repeat((True, False), len(table)),
        sample_weight=np.concatenate((shares, 1 - shares)))
    odds = model.decision_function(table)
    # Of one number, and many objects: nothing to hold back.
    scale = LogisticRegression(C=1e6, max_iter=1000).fit(odds[:, None], right)
    slope = float(scale.coef_[0, 0])
    weights = slope * model.coef_[0] / scales
    bias = float(scale.intercept_[0] + slope * model.intercept_[0] - weights @ means)
    return Fusion(bias, {
        name: Term(float(weight), float(mean))
        for name, weight, mean in zip(known, weights, means, strict=True)})


def _standardised(
    judged: Sequence[Judged], names: Sequence[str]
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """:return: names that say something, their means and scales, and (objects, names) values."""
    columns = {
        name: np.concatenate([
            one.features.get(name, np.full(len(one.found), np.nan)) for one in judged])
        for name in names}
    known = [name for name, values in columns.items()
             if np.isfinite(values).any() and np.nanstd(values) > 0]
    table = np.array([columns[name] for name in known]).reshape(len(known), -1).T
    means, scales = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
    return known, means, scales, (np.where(np.isfinite(table), table, means) - means) / scales


def card_lines(fusion: Fusion, indent: str = '  ') -> list[str]:
    """Write a fusion as a model card has it."""
    lines = [f'{indent}fusion:', f'{indent}  bias: {fusion.bias:.4g}', f'{indent}  features:']
    return lines + [
        f'{indent}    {name}: {{weight: {term.weight:.4g}, mean: {term.mean:.4g}}}'
        for name, term in fusion.terms.items()]


def add_scene_options(parser: argparse.ArgumentParser, first_seed: int, scenes: int) -> None:
    """Add what says which answers are judged."""
    parser.add_argument('--model', default='sim_tiny', help='model card (default: %(default)s)')
    parser.add_argument('--device', default='auto',
                        help='auto, cpu or cuda (default: %(default)s)')
    parser.add_argument('--scenes', type=int, default=scenes,
                        help='of the simulator (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=first_seed,
                        help='of the first scene (default: %(default)s)')
    parser.add_argument('--data', metavar='NAME',
                        help='a data set instead, as run evaluate dataset takes it')
    parser.add_argument('--split', default='', help='of the data set')
    parser.add_argument('--samples', type=int, default=1000,
                        help='of the data set, the first ones (default: %(default)s)')
    parser.add_argument('--cache', type=Path,
                        help='keep features there: the same scenes are not answered again')


def collect(options: argparse.Namespace, source: Source | None = None) -> list[Judged]:
    """Answer all questions, with a bar.

    :param source: of the questions; None: what the options say.
    :raises PerceptionError: the model cannot be loaded.
    :raises DataSetError: the data set cannot be read.
    """
    if source is None and options.data:
        source = samples(open_data_set(options.data, options.split), options.samples)
    elif source is None:
        source = scenes(options.first_seed, options.scenes)
    every = judged_all(options.model, options.device, source, options.cache)
    bar = track(every, 'questions', len(source.keys), console=Console(stderr=True))
    return [one for some in bar for one in some]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit and print the numbers.

    :return: 0 done, 2 bad usage.
    """
    parser = argparse.ArgumentParser(prog='run train scores', description=__doc__)
    add_scene_options(parser, CALIBRATION_SEED, SCENES)
    parser.add_argument('--others', action='store_true',
                        help='for a card with add_from: also of objects that only answers drawn by'
                        ' chance name')
    parser.add_argument('--features', nargs='+', choices=tuple(FEATURES), metavar='NAME',
                        help=f'of: {", ".join(FEATURES)} (default: those that cost nothing; with'
                        ' --others also consistency and own)')
    options = parser.parse_args(arguments)
    if min(options.scenes, options.samples) < 1 or options.first_seed < 0:
        parser.error('--scenes and --samples are at least 1, --first-seed at least 0')
    last = options.first_seed + options.scenes
    if options.first_seed < CALIBRATION_SEED and last > HELDOUT_SEED:
        parser.error(f'seeds from {HELDOUT_SEED} on are for the examination, those for fitting '
                     f'begin at {CALIBRATION_SEED}')
    try:
        judged = collect(options)
        names = options.features or [*FREE, *(('consistency', OWN) if options.others else ())]
        judged = judged if options.others else own_only(judged)
        fusion = fit_fusion(judged, list(names))
    except (PerceptionError, DataSetError, FitError) as error:
        print(f'train scores: {error}', file=sys.stderr)
        return 2
    objects = sum(len(one.found) for one in judged)
    where = options.data or f'scenes from seed {options.first_seed}'
    print(f'# {objects} objects of {len(judged)} answers, {where}')
    print('\n'.join(card_lines(fusion)))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
