"""The video memory on a stream without end: what it stores, and that it forgets nothing."""
from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Mask
from vr_ros.models.sam2_masks import crop_masks
from vr_ros.models.segmenter import ImageFeatures, preprocess, to_results
from vr_ros.models.transformers_sam2 import Sam2Segmenter
from vr_ros.models.video_memory import VideoMemory
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.sim.renderer import Frame


@dataclass(frozen=True)
class Stream:
    """What a long run showed.

    :param bytes_after: stored bytes by number of frames.
    :param step_ms: median time of a step near the beginning and at the end.
    """

    bytes_after: dict[int, int]
    step_ms: tuple[float, float]


def there_and_back(count: int) -> Iterator[int]:
    """Count to count - 1 and back to 0, for ever: a video without a cut."""
    return itertools.cycle([*range(count), *range(count - 2, 0, -1)])


def stream(memory: VideoMemory, segmenter: Sam2Segmenter, frames: Sequence[Frame],
           masks: Sequence[Mask], length: int) -> Stream:
    """Follow objects over many frames; the pictures are encoded once each."""
    seen = [segmenter.encode(frame.rgb) for frame in frames]
    session = memory.start(seen[0], masks)
    order = there_and_back(len(seen))
    next(order)
    sizes, times = {}, []
    for number in range(1, length + 1):
        started = time.perf_counter()
        session.step(seen[next(order)])
        times.append((time.perf_counter() - started) * 1e3)
        if number in (50, 100) or number % 1000 == 0 or number == length:
            sizes[number] = session.stored_bytes
    early, late = np.median(times[50:550]), np.median(times[-500:])
    return Stream(sizes, (float(early), float(late)))


def differing_masks(memory: VideoMemory, segmenter: Sam2Segmenter, frames: Sequence[Frame],
                    masks: Sequence[Mask], length: int) -> tuple[int, int, int]:
    """Compare with transformers' own session, which keeps everything.

    :return: masks that differ, pixels that differ, masks compared.
    """
    order = list(itertools.islice(there_and_back(len(frames)), length + 1))
    features: list[ImageFeatures] = [segmenter.encode(frame.rgb) for frame in frames]
    ours = memory.start(features[order[0]], masks)
    model = memory.model
    positions = model.vision_encoder.neck.position_encoding
    model.vision_encoder.neck.position_encoding = segmenter.video_positions
    try:
        theirs = _session(segmenter, masks)
        differing = pixels = compared = 0
        with torch.inference_mode():
            for number, index in enumerate(order):
                output = model(theirs, frame_idx=number,
                               frame=preprocess(frames[index].rgb, segmenter.image_size)[0])
                if number == 0:
                    continue
                wanted = to_results(crop_masks(output.pred_masks[:, 0].float(),
                                               features[index].size),
                                    [0.0] * len(masks), features[index].size)
                hidden = (output.object_score_logits.flatten() <= 0).tolist()
                for found, one, is_hidden in zip(
                        ours.step(features[index]), wanted, hidden, strict=True):
                    mask = None if is_hidden or not one.area_px else one.mask
                    mine = None if found.result is None else found.result.mask
                    compared += 1
                    if mask != mine:
                        differing += 1
                        pixels += _differing_pixels(mask, mine)
    finally:
        model.vision_encoder.neck.position_encoding = positions
    return differing, pixels, compared


def _session(segmenter: Sam2Segmenter, masks: Sequence[Mask]) -> Sam2VideoInferenceSession:
    from vr_ros.core.rle import rle_to_mask
    session = Sam2VideoInferenceSession(dtype=torch.float32)
    for number, mask in enumerate(masks):
        pixels = F.interpolate(
            torch.from_numpy(rle_to_mask(mask))[None, None].float(), (segmenter.image_size,) * 2,
            mode='bilinear', antialias=True, align_corners=False)
        session.add_mask_inputs(session.obj_id_to_idx(number), 0, (pixels >= 0.5).float())
    session.obj_with_new_inputs = list(range(len(masks)))
    return session


def _differing_pixels(one: Mask | None, other: Mask | None) -> int:
    from vr_ros.core.rle import rle_to_mask
    size = (one or other).size  # type: ignore[union-attr]
    empty = mask_to_rle(np.zeros((size.height, size.width), bool))
    return int((rle_to_mask(one or empty) != rle_to_mask(other or empty)).sum())


def rate_while_reasoning(perceiver: Perceiver, memory: VideoMemory, segmenter: Sam2Segmenter,
                         frames: Sequence[Frame], masks: Sequence[Mask],
                         seconds: float) -> tuple[float, float, float, float]:
    """Track alone, reason alone, then both at once.

    :return: tracked frames per second alone and beside the reasoner; answers per second alone and
        beside the tracker.
    """
    def track(until: threading.Event) -> float:
        session = memory.start(segmenter.encode(frames[0].rgb), masks)
        count, started = 0, time.perf_counter()
        for index in there_and_back(len(frames)):
            session.step(segmenter.encode(frames[index].rgb))
            count += 1
            if until.is_set():
                break
        return count / (time.perf_counter() - started)

    def reason() -> float:
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            perceiver.perceive(frames[0].rgb, 'find all objects')
            count += 1
        return count / (time.perf_counter() - started)

    alone = threading.Event()
    timer = threading.Timer(seconds, alone.set)
    timer.start()
    track_alone = track(alone)
    reason_alone = reason()
    both, rates = threading.Event(), []
    thread = threading.Thread(target=lambda: rates.append(track(both)))
    thread.start()
    reason_beside = reason()
    both.set()
    thread.join()
    return track_alone, rates[0], reason_alone, reason_beside
