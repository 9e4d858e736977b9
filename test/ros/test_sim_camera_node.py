"""The simulated camera on the live graph, against the simulator called directly."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Point, PointStamped, PoseStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String
from watch import Watcher, overrides, watching

from vr_ros.core.types import Status, Task
from vr_ros.msg import Answer, DetectionArray, Instruction
from vr_ros.nodes import qos
from vr_ros.nodes.parameter_spec import ParameterError
from vr_ros.nodes.sim.camera_node import SimCameraNode
from vr_ros.sim.cameras import CameraPose
from vr_ros.sim.gripper import pick
from vr_ros.sim.instructions import answer_key
from vr_ros.sim.renderer import TableCamera, render_scene
from vr_ros.sim.scene import sample_scene
from vr_ros.sim.truth import FrameTruth, ObjectTruth
from vr_ros.sim.world import World

SEED = 1_000_000
Start = Callable[..., Watcher]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a simulated camera with parameters, and somebody who watches it."""
    with ExitStack() as stack:
        def begin(**parameters: Any) -> Watcher:
            def make(context: Any) -> SimCameraNode:
                return SimCameraNode(
                    context=context,
                    parameter_overrides=overrides(**({'seed': SEED} | parameters)))
            return stack.enter_context(watching(make))
        yield begin


def stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def pixels(message: Image) -> np.ndarray:
    kind, channels = {'rgb8': (np.uint8, 3), '32FC1': (np.float32, 1)}[message.encoding]
    shape = (message.height, message.width, channels)
    assert message.step == message.width * channels * np.dtype(kind).itemsize
    return np.frombuffer(bytes(message.data), kind).reshape(shape).squeeze()


def boxes(objects: list[ObjectTruth]) -> list[tuple[float, ...]]:
    return [item.box for item in objects]


def message_boxes(message: DetectionArray) -> list[tuple[float, ...]]:
    return [(d.x_min, d.y_min, d.x_max, d.y_max) for d in message.detections]


def targets_of(text: str, truth: FrameTruth) -> list[ObjectTruth]:
    key = answer_key(text, truth)
    assert key is not None
    return [next(o for o in truth.objects if o.id == number) for number in key.target_ids]


def test_a_picture_is_that_of_its_seed_and_stays_it(start: Start) -> None:
    watcher = start()
    images = watcher.listen(Image, 'image')
    depths = watcher.listen(Image, 'depth')
    infos = watcher.listen(CameraInfo, 'camera_info')
    watcher.until(lambda: min(len(images), len(depths), len(infos)) >= 3)
    expected = render_scene(SEED)
    for image in images:
        assert np.array_equal(pixels(image), expected.rgb)
    depth = pixels(depths[0])
    seen = expected.depth > 0
    assert np.array_equal(depth[seen], expected.depth[seen])
    assert np.isnan(depth[~seen]).all()
    stamps = [stamp_ns(image) for image in images]
    assert stamps == sorted(set(stamps))
    assert set(stamps[1:]) & {stamp_ns(m) for m in depths} & {stamp_ns(m) for m in infos}
    assert {m.header.frame_id for m in images + depths + infos} == {'camera_optical_frame'}


def test_pose_and_intrinsics_project_the_objects_to_where_they_are_seen(start: Start) -> None:
    watcher = start(orbit=20.0)
    infos = watcher.listen(CameraInfo, 'camera_info')
    poses = watcher.listen(PoseStamped, 'camera_pose')
    watcher.until(lambda: len(infos) > 1 and len(poses) > 4)
    pose, matrix = poses[-1], np.array(infos[0].k).reshape(3, 3)
    assert pose.header.frame_id == 'world'
    truth = photographed(pose, infos[0]).truth
    turn = Rotation.from_quat([getattr(pose.pose.orientation, axis) for axis in 'xyzw'])
    place = np.array([getattr(pose.pose.position, axis) for axis in 'xyz'])
    whole = [o for o in truth.objects if o.visible_fraction > 0.9]
    assert whole
    for item in whole:
        x, y, z = matrix @ turn.inv().apply(np.array(item.world_position) - place)
        assert item.box[0] < x / z < item.box[2]
        assert item.box[1] < y / z < item.box[3]


def photographed(pose: PoseStamped, info: CameraInfo) -> Any:
    """Take the picture again that the node took from there."""
    fovy = 2 * np.arctan(info.height / 2 / info.k[4])
    place = tuple(getattr(pose.pose.position, axis) for axis in 'xyz')
    turn = tuple(getattr(pose.pose.orientation, axis) for axis in 'xyzw')
    with TableCamera(sample_scene(SEED)) as camera:
        return camera.render(CameraPose(place, turn, float(fovy)))


def test_jpeg_is_made_only_while_somebody_wants_it(start: Start) -> None:
    watcher = start()
    node = watcher.others[0]
    infos = watcher.listen(CameraInfo, 'camera_info')
    watcher.until(lambda: len(infos) > 2)
    assert 'jpeg' not in vars(node._photo)
    jpegs = watcher.listen(CompressedImage, 'image/compressed')
    watcher.until(lambda: jpegs)
    decoded = cv2.imdecode(np.frombuffer(bytes(jpegs[0].data), np.uint8), cv2.IMREAD_COLOR)
    difference = np.abs(decoded[..., ::-1].astype(int) - render_scene(SEED).rgb)
    assert difference.mean() < 3
    assert 'jpeg' in jpegs[0].format


def test_truth_belongs_to_the_frame_of_the_result_while_the_camera_moves(start: Start) -> None:
    watcher = start(orbit=40.0)
    poses = watcher.listen(PoseStamped, 'camera_pose')
    infos = watcher.listen(CameraInfo, 'camera_info')
    truths = watcher.listen(DetectionArray, 'truth/detections')
    answers = watcher.listen(Answer, 'truth/answer')
    results = watcher.node.create_publisher(DetectionArray, 'detections', 5)
    watcher.until(lambda: results.get_subscription_count() and len(poses) > 12)
    text = 'find all objects'
    chosen = {1: poses[2], 2: poses[10]}
    for number, pose in chosen.items():
        result = DetectionArray(header=pose.header)
        result.header.frame_id = 'camera_optical_frame'
        result.outcome.instruction_id, result.outcome.instruction_text = str(number), text
        result.outcome.camera = 'camera'
        results.publish(result)
    watcher.until(lambda: len(truths) == 2 and len(answers) == 2)
    expected = {}
    for truth, answer in zip(truths, answers, strict=True):
        number = int(truth.outcome.instruction_id)
        targets = targets_of(text, photographed(chosen[number], infos[0]).truth)
        expected[number] = boxes(targets)
        assert message_boxes(truth) == boxes(targets)
        assert truth.count == len(targets) > 0
        assert truth.header == answer.header
        assert truth.header.stamp == chosen[number].header.stamp
        assert truth.outcome.reasoned_stamp == truth.header.stamp
        assert truth.outcome.camera == 'camera' == answer.outcome.camera
        for detection, item in zip(truth.detections, targets, strict=True):
            assert detection.label == f'{item.size_name} {item.colour} {item.kind}'
            assert sum(detection.mask.counts[1::2]) == detection.area_px > 0
            assert tuple(detection.mask.counts) == item.mask.counts
            assert detection.surface_point.z == pytest.approx(item.surface_point[2])
            assert detection.size.x == item.dimensions[0]
            assert np.isnan(detection.score)
    assert expected[1] != expected[2]


@pytest.mark.parametrize(('text', 'task', 'status'), [
    ('find all objects', Task.DETECTION, Status.OK),                # some are there
    ('how many objects are there?', Task.COUNTING, Status.OK),      # a number
    ('please describe the image', Task.VQA, Status.OK),             # words
])
def test_truth_follows_the_instruction_where_nobody_perceives(
        start: Start, text: str, task: Task, status: Status) -> None:
    watcher = start()
    infos = watcher.listen(CameraInfo, 'camera_info')
    truths = watcher.listen(DetectionArray, 'truth/detections')
    answers = watcher.listen(Answer, 'truth/answer')
    instructions = watcher.node.create_publisher(Instruction, 'instruction', 10)
    watcher.until(lambda: infos and instructions.get_subscription_count())
    instructions.publish(Instruction(id='mine', text='paint the ceiling green'))
    instructions.publish(Instruction(id='stop', text=text, mode=Instruction.STOP))
    instructions.publish(Instruction(id='mine too', text=text))
    watcher.until(lambda: truths and answers)
    key = answer_key(text, render_scene(SEED).truth)
    assert [m.outcome.instruction_id for m in truths + answers] == ['mine too'] * 2
    assert truths[0].outcome.task == task == key.task
    assert truths[0].outcome.status == status
    assert truths[0].count == len(key.target_ids)
    assert answers[0].answer == key.answer
    assert answers[0].header.stamp in [info.header.stamp for info in infos]


def test_absent_objects_are_no_object_with_count_zero(start: Start) -> None:
    watcher = start()
    truth = render_scene(SEED).truth
    text = next(text for text in (f'find the {c} {k}' for c in ('red', 'black', 'white')
                                  for k in ('bowl', 'mug', 'bar'))
                if (key := answer_key(text, truth)) and not key.target_ids)
    infos = watcher.listen(CameraInfo, 'camera_info')
    truths = watcher.listen(DetectionArray, 'truth/detections')
    instructions = watcher.node.create_publisher(Instruction, 'instruction', 10)
    watcher.until(lambda: infos and instructions.get_subscription_count())
    instructions.publish(Instruction(id='absent', text=text))
    watcher.until(lambda: truths)
    assert truths[0].outcome.status == Status.NO_OBJECT
    assert (truths[0].count, truths[0].detections) == (0, [])


@pytest.mark.parametrize('change', [
    {'stamp_sec': 1},                       # a frame that was never published
    {'frame_id': 'another_camera'},         # another camera's frame
    {'text': 'paint the ceiling green'},    # no instruction of the simulator
])
def test_no_truth_for_what_is_not_known(start: Start, change: dict[str, Any]) -> None:
    watcher = start()
    infos = watcher.listen(CameraInfo, 'camera_info')
    truths = watcher.listen(DetectionArray, 'truth/detections')
    results = watcher.node.create_publisher(DetectionArray, 'detections', 5)
    watcher.until(lambda: infos and results.get_subscription_count())

    def publish(stamp_sec: int | None = None, frame_id: str = 'camera_optical_frame',
                text: str = 'find all objects') -> None:
        result = DetectionArray()
        result.header.frame_id, result.outcome.instruction_text = frame_id, text
        result.header.stamp.sec = infos[0].header.stamp.sec if stamp_sec is None else stamp_sec
        result.header.stamp.nanosec = infos[0].header.stamp.nanosec
        results.publish(result)

    publish(**change)
    publish()
    watcher.until(lambda: truths)
    watcher.spin(0.3)
    assert len(truths) == 1
    assert truths[0].count > 0


def test_a_new_seed_shows_a_new_scene(start: Start) -> None:
    watcher = start()
    images = watcher.listen(Image, 'image')
    watcher.until(lambda: images)
    results: list[SetParametersResult] = watcher.others[0].set_parameters(
        [Parameter('seed', value=SEED + 1), Parameter('objects', value=4)])
    assert all(result.successful for result in results)
    expected = render_scene(SEED + 1, count=4).rgb
    watcher.until(lambda: np.array_equal(pixels(images[-1]), expected))


@pytest.mark.parametrize('parameters', [
    {'rate': 0.0},        # no pictures
    {'seed': -1},         # no scene
    {'orbit': 'fast'},    # no number
])
def test_bad_parameters_are_refused(start: Start, parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(parameters))):
        start(**parameters)


class Hand:
    """Sends the gripper about, and hears what it holds."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.held: list[String] = watcher.listen(String, 'gripper/held', qos.latched())
        self.images: list[Image] = watcher.listen(Image, 'image')
        self._goals = watcher.node.create_publisher(PointStamped, 'gripper/goal', 10)
        watcher.until(lambda: self.held and self.images and self._goals.get_subscription_count())

    def go(self, point: Any, frame_id: str = 'world', stamp: Any = None) -> str:
        """Send a goal and wait for what is said about it."""
        before = len(self.held)
        goal = PointStamped(header=Header(frame_id=frame_id),
                            point=Point(**dict(zip('xyz', map(float, point), strict=True))))
        if stamp is not None:
            goal.header.stamp = stamp
        self._goals.publish(goal)
        self.watcher.until(lambda: len(self.held) > before)
        return self.held[-1].data

    def sees(self, world: World) -> None:
        """Wait for a picture of a world."""
        with TableCamera(world) as camera:
            expected = camera.render().rgb
        self.watcher.until(lambda: np.array_equal(pixels(self.images[-1]), expected))


def above(item: ObjectTruth) -> tuple[float, float, float]:
    return (*item.world_position[:2], 0.1)


def name(item: ObjectTruth) -> str:
    return f'{item.size_name} {item.colour} {item.kind}'


def test_the_gripper_lifts_what_is_where_it_is_sent_and_pictures_follow(start: Start) -> None:
    hand = Hand(start(objects=4))
    truth, world = render_scene(SEED, count=4).truth, World(sample_scene(SEED, 4))
    first, second = truth.targets[:2]
    assert [m.data for m in hand.held] == ['']
    hand.sees(world)
    assert hand.go(above(first)) == name(first)
    lifted = World.posed(world.spec, pick(world, above(first)).poses)
    assert lifted.poses[first.id].position[2] > 0.15
    hand.sees(lifted)
    # What was held goes out of the scene; what is on the table stays.
    assert hand.go(above(second)) == name(second)
    left = {i: pose for i, pose in lifted.poses.items() if i != first.id}
    hand.sees(World.posed(world.spec, pick(World.posed(world.spec, left), above(second)).poses))
    # Another scene, and the first again: all is back.
    for seed in (SEED + 1, SEED):
        hand.watcher.others[0].set_parameters([Parameter('seed', value=seed)])
        hand.sees(World(sample_scene(seed, 4)))
    assert [m.data for m in hand.held] == ['', name(first), name(second), '']


def test_a_goal_in_the_optical_frame_counts_from_where_the_camera_was(start: Start) -> None:
    watcher = start(objects=4, orbit=40.0)
    truths = watcher.listen(DetectionArray, 'truth/detections')
    infos = watcher.listen(CameraInfo, 'camera_info')
    instructions = watcher.node.create_publisher(Instruction, 'instruction', 10)
    hand = Hand(watcher)
    watcher.until(lambda: infos and instructions.get_subscription_count())
    instructions.publish(Instruction(id='all', text='find all objects'))
    watcher.until(lambda: truths)
    seen = len(infos)
    watcher.until(lambda: len(infos) > seen + 5)   # the camera has gone on
    found = truths[0].detections[0]
    centre = found.center_pose.position
    held = hand.go((centre.x, centre.y, centre.z), 'camera_optical_frame', truths[0].header.stamp)
    assert held == found.label != ''


@pytest.mark.parametrize(('point', 'frame_id'), [
    ((0.0, 0.0, 0.1), 'base_link'),               # a frame that the camera does not know
    ((0.0, 0.0, 0.1), ''),                        # no frame
    ((0.0, 0.0, 0.1), 'camera_optical_frame'),    # at stamp 0 there was no image
    ((3.0, 0.0, 0.1), 'world'),                   # out of reach
    ((float('nan'), 0.0, 0.1), 'world'),          # nowhere
])
def test_a_goal_that_cannot_be_reached_moves_nothing(
        start: Start, point: tuple[float, ...], frame_id: str) -> None:
    hand = Hand(start(objects=4))
    target = render_scene(SEED, count=4).truth.targets[0]
    world = World(sample_scene(SEED, 4))
    assert hand.go(above(target)) == name(target)
    assert hand.go(point, frame_id) == name(target)     # said again
    hand.sees(World.posed(world.spec, pick(world, above(target)).poses))


def test_over_the_bare_table_nothing_is_lifted(start: Start) -> None:
    hand = Hand(start(objects=1))
    place = np.array(World(sample_scene(SEED, 1)).poses[0].position)
    place[0] += 0.3 if place[0] < 0 else -0.3
    assert hand.go(place) == ''
    hand.sees(World(sample_scene(SEED, 1)))
