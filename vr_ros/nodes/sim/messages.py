"""Pictures of the simulated camera and their truth as ROS messages."""
from __future__ import annotations

import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, PointStamped, Pose, PoseStamped, Quaternion
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from vr_ros.core.rle import rle_area
from vr_ros.core.types import Detection, Instruction, Perception, Position, PositionStatus, Status
from vr_ros.nodes.convert import AnswerMsg, DetectionArray, answer_to_msg, detections_to_msg
from vr_ros.nodes.instruction_queue import Job
from vr_ros.nodes.sim.studio import Photo
from vr_ros.nodes.updates import Answer
from vr_ros.sim.instructions import SimInstruction
from vr_ros.sim.truth import FrameTruth, ObjectTruth

TRUTH_MODEL_ID = 'truth'


def image_message(header: Header, rgb: np.ndarray) -> Image:
    """Write a colour image as rgb8.

    :param rgb: (H, W, 3) uint8.
    """
    height, width = rgb.shape[:2]
    return Image(header=header, height=height, width=width, encoding='rgb8', step=3 * width,
                 data=_bytes(rgb.tobytes()))


def depth_message(header: Header, depth: np.ndarray) -> Image:
    """Write a depth image as 32FC1: metres along the optical axis, NaN where nothing is (REP 118).

    :param depth: (H, W) float32, 0 where nothing is.
    """
    height, width = depth.shape
    metres = np.where(depth > 0, depth, np.nan).astype('<f4')
    return Image(header=header, height=height, width=width, encoding='32FC1', is_bigendian=0,
                 step=4 * width, data=_bytes(metres.tobytes()))


def jpeg_message(header: Header, photo: Photo) -> CompressedImage:
    """Write a colour image as JPEG."""
    return CompressedImage(header=header, format='rgb8; jpeg compressed bgr8',
                           data=_bytes(photo.jpeg))


def camera_info_message(header: Header, truth: FrameTruth) -> CameraInfo:
    """Write the intrinsics of a camera without distortion."""
    fx, fy, cx, cy = truth.camera_matrix
    return CameraInfo(
        header=header, height=truth.size.height, width=truth.size.width,
        distortion_model='plumb_bob', d=[0.0] * 5,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0])


def camera_pose_message(stamp: Any, world_frame_id: str, truth: FrameTruth) -> PoseStamped:
    """Write where the optical frame is in the world.

    :param stamp: builtin_interfaces/Time of the picture.
    """
    return PoseStamped(header=Header(stamp=stamp, frame_id=world_frame_id), pose=_pose(
        truth.camera_pose[:3], truth.camera_pose[3:]))


def world_point(goal: PointStamped, truth: FrameTruth | None) -> tuple[float, float, float]:
    """Read a point.

    :param truth: of the frame in whose optical frame the point is; None: it is in the world.
    :return: x, y, z in the world, metres.
    """
    point = (goal.point.x, goal.point.y, goal.point.z)
    if truth is None:
        return point
    turned = Rotation.from_quat(truth.camera_pose[3:]).apply(point)
    x, y, z = (float(v) for v in turned + truth.camera_pose[:3])
    return x, y, z


def truth_messages(key: SimInstruction, truth: FrameTruth, header: Header,
                   instruction: Instruction) -> tuple[DetectionArray, AnswerMsg]:
    """Write the true answer to an instruction about a frame.

    Labels are size, colour and kind; there are no scores. Points and masks are given for every
    task, so that any answer can be judged.

    :param header: of the image that the truth belongs to.
    :param instruction: id, camera and stamp are copied; the task is the one its text asks for.
    """
    targets = _chosen(truth, key)
    perception = Perception(
        Status.OK if targets or key.answer not in ('', '0') else Status.NO_OBJECT, key.task,
        tuple(_detection(index, item) for index, item in enumerate(targets)),
        answer=key.answer, reasoning=key.reason, image_size=truth.size, model_id=TRUTH_MODEL_ID)
    camera = instruction.cameras[0] if instruction.cameras else ''
    answer = Answer(Job(instruction, camera, 0, 0.0, 0.0, 0.0), perception, None, 0, ended=True)
    detections = detections_to_msg(answer)
    words = answer_to_msg(answer, reasoning=True, raw_text_limit=0)
    for message in (detections, words):
        message.header = header
        message.outcome.reasoned_stamp = header.stamp
    return detections, words


def _chosen(truth: FrameTruth, key: SimInstruction) -> list[ObjectTruth]:
    by_id = {item.id: item for item in truth.objects}
    return [by_id[number] for number in key.target_ids]


def _detection(index: int, item: ObjectTruth) -> Detection:
    position = Position(item.surface_point, item.center, item.orientation, item.dimensions, 0.0)
    return Detection(index, item.box, item.point, f'{item.size_name} {item.colour} {item.kind}',
                     mask=item.mask, area_px=rle_area(item.mask),
                     position_status=PositionStatus.OK, position=position)


def _pose(position: Iterable[float], orientation: Iterable[float]) -> Pose:
    x, y, z, w = map(float, orientation)
    return Pose(position=Point(**_xyz(position)), orientation=Quaternion(x=x, y=y, z=z, w=w))


def _xyz(values: Iterable[float]) -> dict[str, float]:
    return dict(zip('xyz', map(float, values), strict=True))


def _bytes(data: bytes) -> array.array[int]:
    # Any other type is checked byte by byte.
    return array.array('B', data)
