"""Rollouts of a prompt as one picture: the image with the boxes of each, and what it said."""
from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from transformers import TrainerCallback

from vr_ros.core.geometry import relative_to_pixels
from vr_ros.core.palette import colour
from vr_ros.core.types import Size
from vr_ros.training.rewards.samples import Sample, sample_from_json
from vr_ros.training.rewards.written_objects import TruthError, read_objects, read_truth
from vr_ros.training.trainers.grpo.trainer import Seen, VisionGrpoTrainer

# A row of the picture: the image on the left, the words on the right.
_SIDE_PX, _WORDS_PX, _LINE_PX, _MARGIN_PX = 240, 560, 13, 6
_LETTERS = 90
_TRUE_COLOUR = (255, 255, 255)


class RolloutPictures(TrainerCallback):
    """Draws one group of rollouts every so many steps.

    :param trainer: whose rollouts.
    :param folder: for ``step_<number>.png``.
    :param every: steps; 0: never.
    :param relative: the model writes coordinates of 0..1000.
    """

    def __init__(self, trainer: VisionGrpoTrainer, folder: Path, every: int, *, relative: bool
                 ) -> None:
        self._trainer, self._folder, self._every = trainer, folder, every
        self._relative = relative

    def on_step_end(self, args, state, control, **_) -> None:
        """Draw, when it is time."""
        seen = self._trainer.seen
        due = self._every and (state.global_step == 1 or state.global_step % self._every == 0)
        if not due or seen is None or not state.is_world_process_zero:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        picture = draw(seen, self._trainer.num_generations, relative=self._relative)
        picture.save(self._folder / f'step_{state.global_step:06d}.png')


def draw(seen: Seen, group: int, *, relative: bool) -> Image.Image:
    """Draw the first group in which rollouts differ: true boxes white, others in colours.

    :param group: rollouts per prompt.
    """
    starts = range(0, len(seen.rewards) - group + 1, group)
    start = next((one for one in starts if len(set(seen.rewards[one:one + group])) > 1), 0)
    row = seen.inputs[start]
    sample = sample_from_json(row['reward_spec'])
    picked = slice(start, start + group)
    strips = [
        _strip(row.get('image'), sample, response,
               f'{row["problem"]}\nreward {reward:.3f}', relative=relative)
        for response, reward in zip(seen.responses[picked], seen.rewards[picked], strict=True)]
    picture = Image.new('RGB', (strips[0].width, sum(strip.height for strip in strips)))
    top = 0
    for strip in strips:
        picture.paste(strip, (0, top))
        top += strip.height
    return picture


def _strip(
    image: Image.Image | None, sample: Sample, response: str, title: str, *, relative: bool
) -> Image.Image:
    lines = [*title.splitlines(), *textwrap.wrap(response, _LETTERS)]
    height = max(_SIDE_PX, len(lines) * _LINE_PX) + 2 * _MARGIN_PX
    strip = Image.new('RGB', (_SIDE_PX + _WORDS_PX + 3 * _MARGIN_PX, height), (24, 24, 24))
    if image is not None:
        strip.paste(_with_boxes(image, sample, response, relative=relative),
                    (_MARGIN_PX, _MARGIN_PX))
    ImageDraw.Draw(strip).multiline_text(
        (_SIDE_PX + 2 * _MARGIN_PX, _MARGIN_PX), '\n'.join(lines), fill=(230, 230, 230),
        font=ImageFont.load_default(10), spacing=2)
    return strip


def _with_boxes(image: Image.Image, sample: Sample, response: str, *, relative: bool
                ) -> Image.Image:
    scale = _SIDE_PX / max(image.size)
    shown = image.resize((round(image.width * scale), round(image.height * scale)))
    canvas = ImageDraw.Draw(shown)
    try:
        true = read_truth(sample.ground_truth).boxes
    except TruthError:   # an answer in words
        return shown
    for boxes, colours in ((true, [_TRUE_COLOUR] * len(true)),
                           (read_objects(response).boxes, None)):
        if relative:
            boxes = relative_to_pixels(boxes, Size(*image.size))
        _rectangles(canvas, np.clip(boxes * scale, 0, _SIDE_PX), colours)
    return shown


def _rectangles(canvas: ImageDraw.ImageDraw, boxes: np.ndarray,
                colours: Sequence[tuple[int, int, int]] | None) -> None:
    for number, box in enumerate(boxes.tolist()):
        canvas.rectangle(box, outline=colours[number] if colours else colour(number), width=2)
