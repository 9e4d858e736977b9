"""The parameters of the perception node."""
from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from vr_ros.models.card_confidence import SOURCES
from vr_ros.nodes.parameter_spec import Applies, markdown_table, parameter

_CONFIGURE, _START = Applies.CONFIGURE, Applies.START
_DAY_S = 86400.0
_MARKS = ('<!-- parameters: python -m vr_ros.nodes.parameters --write README.md -->',
          '<!-- end of parameters -->')


@dataclass(frozen=True)
class PerceptionParameters:
    """Name, type, default, range, unit and meaning: declares, checks and documents them."""

    model: str = parameter(
        'sim_tiny', 'name of a model card, or the path of one', applies=_CONFIGURE)
    device: str = parameter(
        'auto', 'where the models run: auto (the first GPU, else the CPU), cpu, cuda, cuda:1, …',
        applies=_CONFIGURE)
    score_source: str = parameter(
        'card', 'where the scores of objects come from; card: as the model card says; none: they '
        'are NaN', choices=('card', *SOURCES), applies=_CONFIGURE)
    worker_python: str = parameter(
        '', 'interpreter that has torch; empty: `$VR_ROS_PYTHON`, else the `.venv` of the '
        'workspace, else the one that runs the node', applies=_CONFIGURE)
    image_topics: tuple[str, ...] = parameter(
        ('image',), 'one topic per camera; camera_info is expected beside each', applies=_CONFIGURE)
    cameras: tuple[str, ...] = parameter(
        ('',), "names of the cameras, in the order of image_topics; ['']: from the topics",
        applies=_CONFIGURE)
    image_transport: str = parameter(
        'raw', 'compressed: CompressedImage (jpeg or png) on `/compressed` of the topic',
        choices=('raw', 'compressed'), applies=_CONFIGURE)
    depth_topics: tuple[str, ...] = parameter(
        ('',), "depth image of each camera, in the order of image_topics; `''`: none, no "
        'positions; a topic `…/compressedDepth` is taken as such; in another frame than the image, '
        'it is registered by tf2, with the camera_info beside it', applies=_CONFIGURE)
    depth_tolerance: float = parameter(
        0.02, 'how far apart the stamps of an image and of its depth image may be', unit='s',
        low=0.0, high=10.0)
    rectified: str = parameter(
        'auto', 'whether images are rectified, so that P of camera_info holds and not K and D; '
        'auto: if the topic says so, as `image_rect` does', choices=('auto', 'always', 'never'))
    gravity_frame: str = parameter(
        '', 'frame whose z axis points up, such as odom: boxes around objects stand upright in it '
        'at the stamp of the image (tf2); empty, or not known: as the surface under them does')
    target_frame: str = parameter(
        '', '`~/markers` and `~/detections_3d` are in this frame, at the stamp of the image (tf2); '
        "empty: in the camera's optical frame, as results always are")
    max_image_age: float = parameter(
        2.0, 'older images are not looked at: the instruction waits for a fresh one; 0: no limit',
        unit='s', low=0.0, high=_DAY_S)
    max_image_pixels: int = parameter(
        64_000_000, 'larger images are answered IMAGE_TOO_LARGE', unit='px', low=1,
        high=64_000_000)
    default_deadline: float = parameter(
        30.0, 'an instruction without a deadline of its own is answered within this time', unit='s',
        low=0.05, high=_DAY_S)
    queue_size: int = parameter(
        10, 'instructions that may wait; further ones are answered QUEUE_FULL', low=1, high=1000)
    reason_period: float = parameter(
        1.0, 'continuous instructions: from the start of one answer to the next; 0: no pause',
        unit='s', low=0.0, high=_DAY_S)
    tracking: bool = parameter(
        True, 'continuous instructions: follow what was found on every frame in between, with '
        'masks; needs a segmenter with video memory')
    track_timeout: float = parameter(
        3.0, 'an object that is out of sight for this long is lost, and its track_id with it',
        unit='s', low=0.0, high=_DAY_S)
    max_tracks: int = parameter(
        16, 'objects followed on a camera; more are found, but not followed', low=1, high=256)
    instruction_text_mode: str = parameter(
        'once', 'mode of what arrives on instruction_text', choices=('once', 'continuous'))
    instruction_text_task: str = parameter(
        'auto', 'task of what arrives on instruction_text',
        choices=('auto', 'detection', 'segmentation', 'counting', 'vqa'))
    masks: bool = parameter(True, 'segment the objects found; false saves the time it takes')
    reasoning: bool = parameter(True, 'put the reasoning text into answers and feedback')
    raw_text_limit: int = parameter(
        4096, 'Answer.raw_text is cut to this length; 0: left empty', unit='characters', low=0,
        high=1_000_000)
    inference_timeout: float = parameter(
        60.0, 'the worker is replaced when it makes no progress for this long; 0: never', unit='s',
        low=0.0, high=_DAY_S, applies=_CONFIGURE)
    cancel_grace: float = parameter(
        2.0, 'the worker is replaced when it still computes this long after a cancellation',
        unit='s', low=0.0, high=_DAY_S, applies=_CONFIGURE)
    load_timeout: float = parameter(
        0.0, 'loading has failed when it makes no progress for this long; 0: no limit', unit='s',
        low=0.0, high=_DAY_S, applies=_CONFIGURE)
    diagnostics_period: float = parameter(
        1.0, 'time between two messages on /diagnostics', unit='s', low=0.05, high=60.0,
        applies=_START)
    max_silence: float = parameter(
        5.0, 'on /diagnostics it is an error when the worker, or a callback of the node, gives no '
        'sign of life for longer', unit='s', low=2.0, high=_DAY_S)
    min_image_rate: float = parameter(
        0.0, '/diagnostics warns when a camera delivers fewer images; 0: never', unit='Hz', low=0.0,
        high=1000.0)
    max_latency: float = parameter(
        0.0, '/diagnostics warns when the slowest 5 % of the answers take longer; 0: never',
        unit='s', low=0.0, high=_DAY_S)
    autostart: bool = parameter(
        False, 'configure and activate at start, without a lifecycle manager', applies=_START)
    strict_parameters: bool = parameter(
        False, 'refuse to start with a parameter that does not exist, rather than warn',
        applies=_START)


def with_table(text: str) -> str:
    """Put the table between its two marks in a document.

    :raises ValueError: the marks are not there.
    """
    before, mark, rest = text.partition(_MARKS[0])
    _, end, after = rest.partition(_MARKS[1])
    if not mark or not end:
        raise ValueError(f'no lines {_MARKS[0]} and {_MARKS[1]}')
    return f'{before}{mark}\n{markdown_table(PerceptionParameters)}{end}{after}'


def main() -> None:
    """Print the table, or bring a document's copy of it up to date."""
    parser = argparse.ArgumentParser(prog='vr_ros.nodes.parameters', description=main.__doc__)
    parser.add_argument('--write', type=Path, metavar='FILE', help='a document with the marks')
    path = parser.parse_args().write
    if path is None:
        print(markdown_table(PerceptionParameters), end='')
    else:
        path.write_text(with_table(path.read_text(encoding='utf-8')), encoding='utf-8')


if __name__ == '__main__':
    main()
