"""``evaluate segmenter``: masks alone, prompted with the true boxes of a data set."""
from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vr_ros.core.types import PerceptionError
from vr_ros.datasets.photos import NAME
from vr_ros.datasets.registry import open_data_set
from vr_ros.evaluation.commands.answering import answered
from vr_ros.evaluation.commands.options import add_model_options, add_run_options, records_path
from vr_ros.evaluation.commands.reports import conclude
from vr_ros.evaluation.runs.runner import Job, model_identity
from vr_ros.evaluation.true_boxes import TrueBoxes

if TYPE_CHECKING:
    from vr_ros.models.card_types import SegmenterCard


def add_command(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``segmenter``."""
    parser = what.add_parser('segmenter', help='masks alone, prompted with true boxes')
    parser.add_argument('dataset', nargs='?', default=NAME,
                        help='as for dataset (default: two real photographs)')
    parser.add_argument('--split', default='', help='part of the data set, where it has several')
    parser.add_argument('--points', action='store_true',
                        help='prompt with a point inside each object, too')
    add_model_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prompt the segmenter with what is true, and print the figures.

    :return: 0 complete, 1 samples were skipped, or the segmenter was: its weights are not here.
    """
    started = time.monotonic()
    why = missing_segmenter(options.model)
    open_ = partial(open_data_set, options.dataset, options.split)
    # One object, so that in each process what answers knows what the data set gave.
    boxes = TrueBoxes(open_, None if why else _segmenter_card(options.model), options.device,
                      options.points)
    job, data_set = Job(boxes.make, boxes.open, options.batch), open_()
    model = f'true boxes{"" if why else f", {model_identity(options.model)}"}'
    path = records_path(options, 'boxes' if why else 'segmenter',
                        Path(options.dataset).resolve().name, options.split)
    summary = answered(options, started, job, data_set, model, path,
                       split=options.split, points=options.points)
    if why:
        print(f'evaluate: SEGMENTER SKIPPED, no mask was made or scored: {why}', file=sys.stderr)
    besides = [f'segmenter skipped: {why}'] if why else []
    status = conclude(options, summary, data_set, besides, segmenter_skipped=why)
    return 1 if why else status


def missing_segmenter(model: str) -> str:
    """Say why a card's segmenter cannot be loaded; empty if it can.

    :raises PerceptionError: MODEL_UNAVAILABLE, there is no such card.
    """
    from vr_ros.models.weights import resolve_weights

    card = _segmenter_card(model)
    if card is None:
        return f'the card {model} has none'
    if card.backend == 'sam2' and card.weights.path is not None:
        return '' if card.weights.path.is_file() else f'no weights at {card.weights.path}'
    try:
        resolve_weights(card.weights)
    except PerceptionError as error:
        return error.message
    return ''


def _segmenter_card(model: str) -> SegmenterCard | None:
    from vr_ros.models.card import load_card

    return load_card(model).segmenter
