"""Examine the embedded segmenter's video memory on held-out moving scenes.

Every object that is well visible on the first frame is given by its true mask there and followed
to the end by the code that robots run. Two other ways stand beside it: the mask stays where it was
given, and the still segmenter gets the true box on every frame, which no tracker has. Few scenes
hide anything: more that do are chosen by their truth and reported apart. At the end, masks of
single images are measured as when the segmenter was trained.
"""
from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from vr_ros.core.rle import rle_to_mask
from vr_ros.core.types import Size
from vr_ros.models.preprocess import resize_image
from vr_ros.models.transformers_sam2 import Sam2Segmenter
from vr_ros.models.video_memory import VideoMemory
from vr_ros.sim.hiding import hiding_seeds
from vr_ros.sim.motion import MovingScene
from vr_ros.sim.renderer import Frame, render_scene
from vr_ros.sim.truth import ObjectTruth
from vr_ros.training.trainers.sim_memory_data import label_ids
from vr_ros.training.trainers.sim_memory_model import still_view
from vr_ros.training.trainers.sim_segmenter import held_out_iou
from vr_ros.training.trainers.sim_segmenter_data import Recipe

FIRST_HELD_OUT, FIRST_HIDING, EDGE = 1_000_000, 1_001_000, 256
# Well visible: the seed is no sliver. Back: as much of it shows again.
SEED_FRACTION, BACK_FRACTION, BACK_IOU = 0.6, 0.5, 0.5


@dataclass
class Tally:
    """What was measured, object by object and frame by frame.

    :param ious: of visible objects; :param hidden: whether an invisible one was said to be hidden;
    :param returned: per object that was hidden and came back, whether it was found again.
    """

    ious: dict[str, list[float]] = field(default_factory=dict)
    hidden: list[bool] = field(default_factory=list)
    returned: list[bool] = field(default_factory=list)
    lost: list[bool] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)
    hidden_objects: int = 0

    def figures(self) -> dict[str, float]:
        """:return: the means, and of how many."""
        return {
            **{f'J {name}': float(np.mean(values)) for name, values in self.ious.items()},
            'visible object frames': len(self.ious.get('memory', ())),
            'visible called hidden': float(np.mean(self.lost)),
            'hidden recognised': float(np.mean(self.hidden)) if self.hidden else float('nan'),
            'hidden object frames': len(self.hidden),
            'hidden objects': self.hidden_objects,
            'found again': float(np.mean(self.returned)) if self.returned else float('nan'),
            'returns': len(self.returned),
            'step ms per object': float(np.sum(self.step_ms) / max(np.sum(self.objects), 1)),
        }


class Stills:
    """Single images of held-out scenes, as the segmenter sees them.

    :param count: of scenes, from FIRST_HELD_OUT on.
    """

    def __init__(self, count: int) -> None:
        frames = [render_scene(FIRST_HELD_OUT + i) for i in range(count)]
        square = Size(EDGE, EDGE)
        self._images = [
            resize_image(frame.rgb, square).byte().permute(1, 2, 0).numpy() for frame in frames]
        self._labels = [label_ids(frame.truth, EDGE) for frame in frames]

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> np.ndarray:
        """:return: (S, S, 3) uint8 RGB."""
        return self._images[index]

    def labels(self, index: int) -> np.ndarray:
        """:return: (S, S) uint8: an object's id + 1, 0 for none."""
        return self._labels[index]


def iou(found: np.ndarray | None, truth: np.ndarray) -> float:
    """:return: of two (H, W) masks, the true one not empty; 0 when nothing was found."""
    if found is None:
        return 0.0
    return float((found & truth).sum() / (found | truth).sum())


def examine_clip(segmenter: Sam2Segmenter, frames: list[Frame], tally: Tally) -> None:
    """Follow a clip's objects and add up how well that went."""
    first = {o.id: o for o in frames[0].truth.objects if o.visible_fraction >= SEED_FRACTION}
    if not first:
        return
    memory = VideoMemory(segmenter)
    session = memory.start(segmenter.encode(frames[0].rgb), [o.mask for o in first.values()])
    was_hidden: set[int] = set()
    ever_hidden: set[int] = set()
    for frame in frames[1:]:
        features = segmenter.encode(frame.rgb)
        started = time.perf_counter()
        tracked = session.step(features)
        tally.step_ms.append(1000 * (time.perf_counter() - started))
        tally.objects.append(len(first))
        now = {o.id: o for o in frame.truth.objects}
        shown = [now[i] for i in first if i in now]
        boxes = np.array([o.box for o in shown], np.float32).reshape(-1, 4)
        prompted = dict(zip([o.id for o in shown], segmenter.decode(features, boxes), strict=True))
        for (i, start), found in zip(first.items(), tracked, strict=True):
            if i not in now:
                tally.hidden.append(found.result is None)
                was_hidden.add(i)
                ever_hidden.add(i)
                continue
            mask = None if found.result is None else rle_to_mask(found.result.mask)
            score = iou(mask, _pixels(now[i]))
            _add(tally, 'memory', score)
            _add(tally, 'stays', iou(_pixels(start), _pixels(now[i])))
            _add(tally, 'true box', iou(rle_to_mask(prompted[i].mask), _pixels(now[i])))
            tally.lost.append(found.result is None)
            if i in was_hidden and now[i].visible_fraction >= BACK_FRACTION:
                tally.returned.append(score >= BACK_IOU)
                was_hidden.discard(i)
    tally.hidden_objects += len(ever_hidden)


def examine(
    segmenter: Sam2Segmenter, seeds: Iterable[int], frames: int, rate_hz: float
) -> dict[str, float]:
    """:return: the figures of the scenes with these seeds."""
    tally = Tally()
    for seed in seeds:
        examine_clip(segmenter, list(MovingScene(seed, frames, rate_hz)), tally)
    return tally.figures()


def _pixels(item: ObjectTruth) -> np.ndarray:
    return rle_to_mask(item.mask)


def _add(tally: Tally, name: str, value: float) -> None:
    tally.ious.setdefault(name, []).append(value)


def main(arguments: list[str] | None = None) -> int:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--weights', type=Path, default=Path('weights/sim_tiny/segmenter'))
    parser.add_argument('--scenes', type=int, default=50)
    parser.add_argument('--hiding-scenes', type=int, default=24,
                        help='chosen because something goes out of sight in them')
    parser.add_argument('--frames', type=int, default=24)
    parser.add_argument('--rate-hz', type=float, default=10.0)
    parser.add_argument('--first-seed', type=int, default=FIRST_HELD_OUT)
    parser.add_argument('--stills', type=int, default=100, help='single images')
    options = parser.parse_args(arguments)
    segmenter = Sam2Segmenter(options.weights, EDGE, 'cpu', torch.float32)
    figures: dict[str, float] = {}
    if segmenter.has_memory and options.scenes:
        seeds: Iterable[int] = range(options.first_seed, options.first_seed + options.scenes)
        figures = examine(segmenter, seeds, options.frames, options.rate_hz)
    if segmenter.has_memory and options.hiding_scenes:
        seeds = islice(hiding_seeds(FIRST_HIDING, options.frames, options.rate_hz),
                       options.hiding_scenes)
        found = examine(segmenter, seeds, options.frames, options.rate_hz)
        figures |= {f'hiding scenes: {name}': value for name, value in found.items()}
    still = still_view(segmenter.model) if segmenter.has_memory else segmenter.model
    figures['still IoU'] = held_out_iou(still, Stills(options.stills), Recipe(),
                                        segmenter.device)
    print(json.dumps({k: round(v, 4) for k, v in figures.items()}, indent=1))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
