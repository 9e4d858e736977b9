"""Positions for detections, out of the depth and camera_info messages that came with an image."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vr_ros.core.cdr import Serialized, parse_camera_info, parse_compressed_image, parse_image
from vr_ros.core.location import locate_all
from vr_ros.core.types import Detection, PerceptionError, PositionStatus, Size
from vr_ros.images.decode import decode_depth
from vr_ros.images.decode_depth_compressed import decode_compressed_depth
from vr_ros.pipeline.camera_model import CameraModel
from vr_ros.pipeline.point_map import point_map, register, same_view
from vr_ros.pipeline.protocol import FrameKind

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DepthCamera:
    """A depth camera other than the image's own.

    :param info_cdr: its sensor_msgs/CameraInfo in CDR.
    :param depth_to_image: (4, 4) transform that takes points of its optical frame to the image's.
    :param rectified: whether its depth image is rectified: then camera_info's P holds.
    """

    info_cdr: Serialized
    depth_to_image: np.ndarray
    rectified: bool = False


def add_positions(
    detections: Sequence[Detection], image_size: Size, image_frame_id: str,
    depth_cdr: Serialized | None, depth_kind: FrameKind, info_cdr: Serialized | None,
    up: Sequence[float] | np.ndarray | None = None, *, rectified: bool = False,
    depth_camera: DepthCamera | None = None,
) -> tuple[Detection, ...]:
    """Locate the objects of an image. Whether the stamps match is the caller's to see.

    The depth image has the image's frame_id and proportions (its size may differ), or comes with a
    depth_camera. Messages that cannot be used become a status and a line in the log.

    :param image_size: what boxes and masks refer to.
    :param depth_cdr: sensor_msgs/Image or CompressedImage, as depth_kind says; None or empty if
        there is none.
    :param info_cdr: sensor_msgs/CameraInfo of the image, or of depth registered to it; None or
        empty if there is none.
    :param up: (3,) direction against gravity in the image's optical frame, or None.
    :param rectified: whether the image is rectified: then camera_info's P holds instead of K and D.
    :return: the detections in their order, each with a position_status other than NONE; position
        is in the image's optical frame, metres.
    :raises ValueError: if `up` or the transform is none, or a mask is not of the image's size.
    """
    found = _points(image_size, image_frame_id, depth_cdr, depth_kind, info_cdr, rectified,
                    depth_camera)
    if isinstance(found, PositionStatus):
        return tuple(replace(item, position_status=found, position=None) for item in detections)
    return locate_all(detections, found, image_size, up)


def _points(
    image_size: Size, image_frame_id: str, depth_cdr: Serialized | None, depth_kind: FrameKind,
    info_cdr: Serialized | None, rectified: bool, depth_camera: DepthCamera | None,
) -> np.ndarray | PositionStatus:
    """Make the map of points that shows the whole image, or say why there is none."""
    if not depth_cdr:
        return PositionStatus.NO_DEPTH
    try:
        depth, frame_id = _decoded(depth_cdr, depth_kind)
    except PerceptionError as error:
        _log.warning('positions: the depth image is not used: %s', error.message)
        return PositionStatus.NO_DEPTH
    depth_size = Size(depth.shape[1], depth.shape[0])
    registered = frame_id == image_frame_id and same_view(image_size, depth_size)
    if not registered and (depth_camera is None or frame_id == image_frame_id):
        _log.warning(
            'positions: depth of %dx%d in frame %r is not registered to the image of %dx%d in %r',
            depth_size.width, depth_size.height, frame_id, image_size.width, image_size.height,
            image_frame_id)
        return PositionStatus.NOT_REGISTERED
    model = _model(info_cdr, rectified, image_frame_id, image_size)
    if model is None:
        return PositionStatus.NO_CAMERA_INFO
    if registered:
        return point_map(depth, model.scaled_to(depth_size))
    assert depth_camera is not None
    depth_model = _model(depth_camera.info_cdr, depth_camera.rectified, frame_id, depth_size)
    if depth_model is None:
        return PositionStatus.NO_CAMERA_INFO
    points = point_map(depth, depth_model)
    return register(points, depth_camera.depth_to_image, depth_model.matrix[0], model)


def _decoded(depth_cdr: Serialized, kind: FrameKind) -> tuple[np.ndarray, str]:
    """Decode a depth image: (h, w) float32 metres and its frame_id."""
    if kind is FrameKind.COMPRESSED:
        compressed = parse_compressed_image(depth_cdr)
        return decode_compressed_depth(compressed), compressed.frame_id
    image = parse_image(depth_cdr)
    return decode_depth(image), image.frame_id


def _model(
    info_cdr: Serialized | None, rectified: bool, frame_id: str, size: Size
) -> CameraModel | None:
    """Read the model of an image of that frame and size; None, with a line logged, if unusable."""
    if not info_cdr:
        return None
    try:
        model = CameraModel.from_info(parse_camera_info(info_cdr), rectified)
    except (PerceptionError, ValueError) as error:
        _log.warning('positions: the camera_info is not used: %s', error)
        return None
    if model.frame_id != frame_id or not same_view(model.size, size):
        _log.warning(
            'positions: the camera_info of %dx%d in frame %r is not that of %dx%d in %r',
            model.size.width, model.size.height, model.frame_id, size.width, size.height, frame_id)
        return None
    return model.scaled_to(size)
