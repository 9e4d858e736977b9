"""Options that say where a bag's images are and what is true of them, for every command on bags."""
from __future__ import annotations

import argparse
from pathlib import Path

from vr_ros.bags.files import BagError
from vr_ros.bags.frame_truths import FrameTruths, TopicBoxes, open_truths
from vr_ros.bags.questions import Questions, read_questions


def add_truth_options(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument('--images', nargs='+', default=[], metavar='TOPIC',
                        help='where the images are (default: all but overlays, labels, depth)')
    parser.add_argument('--truth', type=Path, metavar='PATH',
                        help='annotations of its frames: COCO JSON, CVAT XML, or a folder of YOLO'
                             ' labels')
    parser.add_argument('--label', action='append', default=[], metavar='TEXT=LABEL',
                        help='an instruction and the label or class that it asks for, where that'
                             ' is not the instruction itself; may be repeated')
    parser.add_argument('--truth-topic', nargs='+', default=[], metavar='TOPIC',
                        help='true DetectionArrays, or Detection2DArrays of vision_msgs with the'
                             ' classes of what is there (default: those under /truth/)')


def questions_of(bag: Path, options: argparse.Namespace) -> Questions:
    """Read what was asked in a bag.

    :raises BagError: the options contradict each other, or the bag cannot be read.
    """
    if options.truth and options.truth_topic:
        raise BagError('--truth and --truth-topic: one of them')
    return read_questions(bag, options.images, options.truth_topic)


def truths_of(questions: Questions, options: argparse.Namespace) -> FrameTruths | None:
    """Open what is true of the frames; None: what the bag itself says.

    :raises vr_ros.datasets.sample.DataSetError: it cannot be read, or is not about these frames.
    """
    label_of = dict(map(_label, options.label))
    if options.truth:
        truths = open_truths(options.truth, label_of)
    elif questions.boxes:
        truths = FrameTruths(TopicBoxes(questions, options.truth_topic), label_of)
    elif label_of:
        raise BagError('--label needs --truth, or a --truth-topic of vision_msgs')
    else:
        return None
    asked = [item for item in questions.items if item.has_own_picture]
    truths.require_some((item.picture for item in asked if item.picture),
                        (item.text for item in asked))
    return truths


def _label(text: str) -> tuple[str, str]:
    instruction, sign, label = text.rpartition('=')
    if not sign:
        raise BagError(f'--label {text!r}: an instruction and its label, as in "find the cup=cup"')
    return instruction, label
