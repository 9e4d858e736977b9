"""``./run demo --pick``: the gripper lifts what was asked for, by nothing but the topics.

A wish becomes an instruction, the first object of the answer with a position a goal in the world,
by the camera's pose at the stamp of the very image. What the gripper then holds is compared with
the truth. The camera's simulated physics decides: a wrong or crooked goal lifts something else, or
nothing.
"""
from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, PointStamped, PoseStamped
from rich.rule import Rule
from rich.text import Text
from std_msgs.msg import Header, String

from vr_ros.bags.result_messages import read_stamp
from vr_ros.core.types import Instruction, Perception, Position, Stamp
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.pages.demo_page import Case
from vr_ros.nodes import qos
from vr_ros.nodes.demo.client import IMAGES_KEPT_S, DemoClient, DemoError, Exchange, decoded
from vr_ros.nodes.demo.pick_record import Pick, PickSession, metres
from vr_ros.nodes.screen import ReasoningPrinter, printable
from vr_ros.sim.gripper import grasp_point
from vr_ros.sim.pick_requests import TEMPLATES, PickRequest, draw_request, label
from vr_ros.sim.renderer import render_scene
from vr_ros.sim.truth import FrameTruth, ObjectTruth

PICKS = 5
RECORDED = ('gripper/goal', 'gripper/held')
LISTENERS = {'depth': 'perception', 'gripper/goal': 'sim_camera', 'gripper/held': 'record'}
# Both images of a stamp have to come through, and each is larger than what is sent on best effort.
PERCEPTION = ('-p', 'depth_topics:=[depth]', *(
    word for topic in ('image', 'depth')
    for word in ('-p', f'qos_overrides./{topic}.subscription.reliability:=reliable')))
# Half of the usual rate: two large images a time are enough for nobody in a hurry.
CAMERA = ('-p', 'rate:=5.0')
WORLD = 'world'
_LIFT_TIMEOUT_S = 20.0
_AFTERWARDS_S = 10.0
# Scenes without a single object that can be asked for, one after the other, before it gives up.
_BARREN = 20
_DRAWS = 20


class PickClient(DemoClient):
    """A node that asks, and sends the gripper.

    :param check: raises when the demo cannot go on; called while waiting.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__(check)
        self._poses: OrderedDict[int, Any] = OrderedDict()
        self._held: list[str] = []
        self._goals = qos.create_publisher(self.node, PointStamped, 'gripper/goal', qos.command())
        qos.create_subscription(
            self.node, PoseStamped, 'camera_pose', self._on_pose, qos.result())
        qos.create_subscription(
            self.node, String, 'gripper/held', lambda message: self._held.append(message.data),
            qos.latched())

    def goal_of(self, position: Position, stamp: Stamp) -> tuple[float, float, float] | None:
        """Choose where to grasp.

        :param position: in the optical frame of the image of that stamp.
        :return: x, y, z in the world, metres; None where the camera's pose is not known.
        """
        pose = self._poses.get(stamp.nanoseconds)
        if pose is None:
            return None
        place, turn = pose.position, pose.orientation
        return grasp_point(position, (place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))

    def lift(self, goal: tuple[float, float, float]) -> str:
        """Send the empty gripper, and wait for what it holds.

        :param goal: x, y, z in the world, metres.
        :raises DemoError: it is not empty, or nothing is heard of it.
        """
        # A new scene empties the gripper: that word must not be taken for the answer.
        self._wait(lambda: self._held and not self._held[-1], _LIFT_TIMEOUT_S,
                   lambda: 'the gripper is not empty')
        before = len(self._held)
        self._goals.publish(PointStamped(
            header=Header(stamp=self.node.get_clock().now().to_msg(), frame_id=WORLD),
            point=Point(x=goal[0], y=goal[1], z=goal[2])))
        self._wait(lambda: len(self._held) > before, _LIFT_TIMEOUT_S,
                   lambda: f'the gripper says nothing within {_LIFT_TIMEOUT_S:.0f} s')
        return self._held[-1]

    def picture_since(self, stamp: Stamp) -> np.ndarray | None:
        """Give the first picture from a stamp on; None if none has come."""
        since = (data for stamp_ns, data in self._pictures.items() if stamp_ns >= stamp.nanoseconds)
        found = next(since, None)
        return None if found is None else decoded(found)

    def picture_afterwards(self) -> np.ndarray | None:
        """Wait for a picture that was taken after now: the second, one may be on its way."""
        now_ns = self.node.get_clock().now().nanoseconds

        def later() -> list[int]:
            return [stamp_ns for stamp_ns in self._pictures if stamp_ns > now_ns]
        self._wait(lambda: len(later()) > 1, _AFTERWARDS_S, None)
        return decoded(self._pictures[later()[-1]]) if later() else None

    def _on_pose(self, message: PoseStamped) -> None:
        stamp_ns = read_stamp(message).nanoseconds
        self._poses[stamp_ns] = message.pose
        while stamp_ns - next(iter(self._poses)) > IMAGES_KEPT_S * 1e9:
            self._poses.popitem(last=False)


def pick_things(client: PickClient, session: PickSession, *, first_seed: int, objects: int,
                seconds: float, timeout_s: float, camera_stands: bool) -> None:
    """Go through scenes, the first of which is shown, and have one object lifted in each.

    :param objects: how many in each scene; 0 draws 1 to 10.
    :param seconds: go on that long, and for PICKS wishes at least.
    :param timeout_s: for each answer.
    :param camera_stands: then the truth of each scene is that of all its images.
    :raises DemoError: a part of it does not answer, or there is nothing to pick up.
    """
    end_at = time.monotonic() + seconds
    seed, barren = first_seed, 0
    while barren < _BARREN and (len(session.picks) < PICKS or time.monotonic() < end_at):
        request = wish(render_scene(seed, count=objects or None).truth, seed, len(session.picks))
        barren = 0 if request else barren + 1
        if request is not None:
            if seed != first_seed:
                client.show_scene(seed)
            session.console.print(
                Rule(Text(request.said, 'bold'), align='left', style='dim'),
                Text(f'Scene {seed}, asking: {request.instruction.text}', 'dim'))
            _fulfil(client, session, request, timeout_s, camera_stands)
        seed += 1
    if not session.picks:
        raise DemoError('these scenes show nothing to pick up')


def wish(truth: FrameTruth, seed: int, number: int) -> PickRequest | None:
    """Draw a wish for an object that no other of the frame shares its name with.

    :param number: how many were fulfilled before; kinds of wishes take turns, and the first is for
        something to drink from where there is such a thing.
    """
    rng, turn = np.random.default_rng([seed, 9]), number % len(TEMPLATES)
    order = TEMPLATES[turn:] + TEMPLATES[:turn]
    names = [label(item) for item in truth.objects]
    drawn = [draw_request(truth, rng, order) for _ in range(_DRAWS)]
    usable = [one for one in drawn if one and names.count(label(one.target)) == 1]
    if number == 0:
        usable.sort(key=lambda one: one.instruction.query.function != 'drink')
    return usable[0] if usable else None


def located(perception: Perception) -> Position | str:
    """:return: the first position of an answer, or why there is none."""
    for found in perception.detections:
        if found.position is not None:
            return found.position
    if perception.detections:
        return f'position_status {perception.detections[0].position_status.name}'
    return perception.status.name


def right_object(truth: Truth | None, target: ObjectTruth, camera_stands: bool) -> str | None:
    """Tell which object is right, None where that is not clear.

    :param truth: about the image that was answered about: from where a moving camera has gone, the
        rightmost thing may be another.
    :param target: the right one as the scene's own camera sees it.
    """
    if camera_stands:
        return label(target)
    return truth.labels[0] if truth and truth.count == 1 and truth.labels else None


def _fulfil(client: PickClient, session: PickSession, request: PickRequest,
            timeout_s: float, camera_stands: bool) -> None:
    printer, text = ReasoningPrinter(session.console), request.instruction.text
    exchange = client.ask(Instruction('', text), printer.add, timeout_s)
    printer.end(exchange.result.perception.reasoning)
    image = exchange.image
    if image is None and camera_stands:
        # That very picture was lost on its way here; the next one shows the same.
        image = client.picture_since(exchange.result.stamp)
    wanted = right_object(exchange.truth, request.target, camera_stands)
    pick = _sent(client, exchange, Pick(request.said, text, wanted))
    session.picks.append((pick, client.picture_afterwards()))
    session.ids.append(exchange.result.instruction_id)
    session.add(Case(f'{request.said} (asked: {text})', exchange.result.perception, image,
                     exchange.truth, 'action', request.instruction.template.replace('_', ' ')))
    colour = 'green' if pick.is_right else 'red'
    session.console.print(Text.assemble(
        'Gripper ', '' if pick.goal is None else f'at {metres(pick.goal)}: ',
        (printable(pick.outcome), 'bold'), ' · ', (pick.verdict, colour),
        (f' · truth: {pick.wanted or "not clear in that image"}', 'dim')))


def _sent(client: PickClient, exchange: Exchange, pick: Pick) -> Pick:
    """Send the gripper to the object of an answer, if it has one with a position."""
    position = located(exchange.result.perception)
    if isinstance(position, str):
        return replace(pick, why_not=position)
    goal = client.goal_of(position, exchange.result.stamp)
    if goal is None:
        return replace(pick, why_not='no camera_pose of that image')
    return replace(pick, goal=goal, held=client.lift(goal))
