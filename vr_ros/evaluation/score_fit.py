"""Fit the fusion of scores for a model's card, on scenes apart from training and examination."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from vr_ros.core.confidence import FEATURES, FREE, Fusion, Term
from vr_ros.core.types import PerceptionError
from vr_ros.evaluation.score_records import CALIBRATION_SEED, Judged, judged_scenes
from vr_ros.evaluation.score_table import right_objects
from vr_ros.sim.instructions import HELDOUT_SEED

SCENES = 500
# Of the squared weights of standardised features: what little data says weighs little.
STRENGTH = 1.0


class FitError(ValueError):
    """There is nothing to fit."""


def fit_fusion(judged: Sequence[Judged], names: Sequence[str]) -> Fusion:
    """Fit a logistic function to whether objects are right at IoU 0.5.

    Features are standardised for the fit, so that its regularisation treats them alike, and the
    weights are given for the features as they are.

    :param names: of the features; those that say nothing on these answers are left out.
    :raises FitError: if no object is right or none is wrong, or scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise FitError("needs scikit-learn: pip install '.[train]'") from error
    some = [one for one in judged if len(one.found)]
    right = np.concatenate([right_objects(one) for one in some] or [np.empty(0, bool)])
    if not 0 < right.sum() < len(right):
        raise FitError(
            f'{len(right)} objects, {int(right.sum())} of them right: it takes right and wrong ones'
        )
    columns = {
        name: np.concatenate([
            one.features.get(name, np.full(len(one.found), np.nan)) for one in some])
        for name in names}
    known = {name: values for name, values in columns.items()
             if np.isfinite(values).any() and np.nanstd(values) > 0}
    means = np.array([np.nanmean(values) for values in known.values()])
    scales = np.array([np.nanstd(values) for values in known.values()])
    table = np.array(list(known.values())).T
    table = (np.where(np.isfinite(table), table, means) - means) / scales
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(table, right)
    weights = model.coef_[0] / scales
    return Fusion(
        float(model.intercept_[0] - weights @ means),
        {name: Term(float(weight), float(mean))
         for name, weight, mean in zip(known, weights, means, strict=True)})


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
    parser.add_argument('--cache', type=Path,
                        help='keep features there: the same scenes are not answered again')


def collect(options: argparse.Namespace) -> list[Judged]:
    """Answer all questions, with a bar."""
    scenes = judged_scenes(
        options.model, options.device, options.first_seed, options.scenes, options.cache)
    bar = track(scenes, 'scenes', options.scenes, console=Console(stderr=True))
    return [one for scene in bar for one in scene]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit and print the numbers.

    :return: 0 done, 2 bad usage.
    """
    parser = argparse.ArgumentParser(prog='run train scores', description=__doc__)
    add_scene_options(parser, CALIBRATION_SEED, SCENES)
    parser.add_argument('--features', nargs='+', choices=tuple(FEATURES), metavar='NAME',
                        default=[*FREE, 'existence'],
                        help=f'of: {", ".join(FEATURES)} (default: all but consistency)')
    options = parser.parse_args(arguments)
    if options.scenes < 1 or options.first_seed < 0:
        parser.error('--scenes is at least 1, --first-seed at least 0')
    last = options.first_seed + options.scenes
    if options.first_seed < CALIBRATION_SEED and last > HELDOUT_SEED:
        parser.error(f'seeds from {HELDOUT_SEED} on are for the examination, those for fitting '
                     f'begin at {CALIBRATION_SEED}')
    try:
        judged = collect(options)
        fusion = fit_fusion(judged, options.features)
    except (PerceptionError, FitError) as error:
        print(f'train scores: {error}', file=sys.stderr)
        return 2
    objects = sum(len(one.found) for one in judged)
    print(f'# {objects} objects of {len(judged)} answers, scenes from seed {options.first_seed}')
    print('\n'.join(card_lines(fusion)))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
