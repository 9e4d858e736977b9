"""Bags of a robot: what it was asked about which image, with what people say is true."""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vr_ros.bags.asked_frames import AskedFrames
from vr_ros.bags.questions import Question, Questions
from vr_ros.bags.truth_options import add_truth_options, questions_of, truths_of
from vr_ros.core.types import PerceptionError, Task
from vr_ros.datasets.sample import DataSetError, SampleError, size_of
from vr_ros.datasets.truth import Truth
from vr_ros.training.data.source import Builder, Draft, LeftOut

NO_TRUTH = 'nothing is known to be true'


class BagSource:
    """The questions of a bag whose image is there and whose truth is known.

    :param frames: questions with their truths.
    :param trusts_results: what was answered then is taken for true: pseudo-labels.
    """

    def __init__(self, frames: AskedFrames, name: str, *, trusts_results: bool = False) -> None:
        self._frames, self._trusts_results = frames, trusts_results
        self.name, self.ids = name, frames.ids
        self.identity = frames.name + (', its results for truth' if trusts_results else '')

    @property
    def questions(self) -> Questions:
        """What was asked in the bag."""
        return self._frames.questions

    def __len__(self) -> int:
        return len(self.ids)

    def load(self, place: int) -> Iterator[Draft]:
        """See :class:`vr_ros.training.data.source.Source`."""
        item = self.questions.items[place]
        if item.picture is None:
            raise LeftOut('its image is not in the bag')
        if not item.has_own_picture:
            raise LeftOut('an answer without an image')
        if self._trusts_results and (
                item.recorded is None or item.recorded.perception.status.is_error):
            raise LeftOut('no result to be taken for true')
        try:
            image = self.questions.decode(item.picture)
        except (PerceptionError, OSError) as error:
            raise SampleError(f'broken image: {error}') from error
        truth = self._truth(item, image)
        if truth.boxes is None and not truth.has_pixels and truth.count is None and not any(
                truth.answers):
            raise LeftOut(NO_TRUTH)
        recorded = item.recorded.perception.task if item.recorded else Task.AUTO
        extra = {'frame_id': item.picture.frame_id, 'stamp_ns': item.picture.stamp.nanoseconds}
        if self._trusts_results:
            extra['pseudo_label'] = True
        yield Draft(item.id, image, item.text, truth, truth.task or recorded or item.task,
                    points=self._points(item, truth), extra=extra)

    def _truth(self, item: Question, image: np.ndarray) -> Truth:
        size = size_of(image)
        if not self._trusts_results:
            truth = self._frames.truth(item, size)
        else:
            assert item.recorded is not None and item.picture is not None
            truth = Truth.from_perception(item.recorded.perception, item.picture.name)
        stated = truth.size
        if truth.boxes is not None and stated.width and stated != size:
            raise SampleError(f'broken annotation: a result of {stated.width}x{stated.height} for'
                              f' an image of {size.width}x{size.height}')
        return replace(truth, size=size)

    def _points(self, item: Question, truth: Truth) -> np.ndarray | None:
        """Points that the true result names for all its objects; None: from masks and boxes."""
        result = item.recorded if self._trusts_results else item.truth
        found = result.perception.detections if result else ()
        points = [one.point for one in found if one.point is not None]
        is_known = truth.boxes is not None and len(points) == len(found) == len(truth.boxes)
        return np.array(points, float).reshape(-1, 2) if is_known else None


class BagBuilder:
    """A bag on the command line."""

    help = 'a bag of a robot, with what is true of its frames'

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`Builder`."""
        parser.add_argument('--bag', type=Path, required=True, metavar='DIR',
                            help='its folder, or one of its files')
        parser.add_argument('--name', default='bag',
                            help='data_source of the rows (default: %(default)s)')
        parser.add_argument('--results-as-truth', action='store_true',
                            help='what the robot answered is taken for true: pseudo-labels')
        add_truth_options(parser)

    def open(self, options: argparse.Namespace) -> BagSource:
        """See :class:`Builder`."""
        if options.results_as_truth and (options.truth or options.truth_topic):
            raise DataSetError('--results-as-truth, --truth and --truth-topic: one of them')
        questions = questions_of(options.bag, options)
        if not questions.items:
            raise DataSetError('; '.join([
                f'{options.bag}: no instructions and no results of a perception node in it',
                *questions.problems[:3], *questions.bag.notes]))
        truths = None if options.results_as_truth else truths_of(questions, options)
        return BagSource(AskedFrames(questions, truths), options.name,
                         trusts_results=options.results_as_truth)


BUILDERS: dict[str, Builder] = {'bag': BagBuilder()}
