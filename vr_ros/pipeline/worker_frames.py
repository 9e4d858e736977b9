"""What the worker makes of a frame in the ring: pictures, and where in space objects are."""
from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np

from vr_ros.core.cdr import parse_header
from vr_ros.core.types import Detection, PerceptionError, PositionStatus, Size, Status
from vr_ros.pipeline.frame_ring import FrameRing
from vr_ros.pipeline.protocol import FrameKind, FrameRef

# Not imported with this module: they need OpenCV, and the node is to hear of loading at once.
DECODE = 'vr_ros.images.decode'
LOCATE = 'vr_ros.pipeline.locating'


class Rings:
    """The rings through which frames come, by number."""

    def __init__(self) -> None:
        self._rings: dict[int, FrameRing] = {}

    def attach(self, ring_id: int, descriptor: int) -> None:
        self._rings[ring_id] = FrameRing.attach(descriptor)

    def detach(self, ring_id: int) -> None:
        self._rings.pop(ring_id, None)

    def open(self, ref: FrameRef) -> RingFrame:
        """Take hold of a frame: it can be read even when its ring was detached since."""
        return RingFrame(self._rings.get(ref.ring_id), ref)


class RingFrame:
    """One frame, read in place."""

    def __init__(self, ring: FrameRing | None, ref: FrameRef) -> None:
        self._ring, self._ref = ring, ref

    def image(self) -> np.ndarray:
        """Decode the image.

        :return: (H, W, 3) uint8 RGB, in memory of its own.
        :raises PerceptionError: it cannot be decoded, or its slot was used again meanwhile.
        """
        decoders = importlib.import_module(DECODE)
        decode = (decoders.decode_image if self._ref.kind is FrameKind.IMAGE
                  else decoders.decode_compressed)
        view = self._view()[:self._ref.image_bytes]
        try:
            image: np.ndarray = decode(view)
        except PerceptionError:
            self._check()
            raise
        self._check()
        return image

    def located(self, detections: tuple[Detection, ...], size: Size) -> tuple[Detection, ...]:
        """Give detections their positions, or the reason why they have none.

        :param size: of the image, in pixels.
        """
        ref = self._ref
        if ref.locate is PositionStatus.NONE or not detections:
            return detections
        if ref.locate is not PositionStatus.OK:
            return tuple(replace(found, position_status=ref.locate) for found in detections)
        view, image_end, look = self._view(), ref.image_bytes, ref.viewpoint
        depth_end = image_end + ref.depth_bytes
        info_end = depth_end + ref.info_bytes
        locating = importlib.import_module(LOCATE)
        depth_camera = None if not look.depth_to_image else locating.DepthCamera(
            view[info_end:], np.reshape(look.depth_to_image, (4, 4)), look.depth_rectified)
        located: tuple[Detection, ...] = locating.add_positions(
            detections, size, parse_header(view[:image_end]).frame_id, view[image_end:depth_end],
            ref.depth_kind, view[depth_end:info_end], look.up or None, rectified=look.rectified,
            depth_camera=depth_camera)
        self._check()
        return located

    def _view(self) -> memoryview:
        view = None if self._ring is None else self._ring.view(self._ref.slot)
        if view is None:
            raise _overwritten()
        return view

    def _check(self) -> None:
        if self._ring is None or not self._ring.still_valid(self._ref.slot):
            raise _overwritten()


def _overwritten() -> PerceptionError:
    return PerceptionError(
        Status.STALE_IMAGE, 'newer frames took the place of the frame before it was read')
