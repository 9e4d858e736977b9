"""``./run demo --pick``: the gripper lifts what was asked for, by nothing but the topics.

A wish becomes an instruction, the first object of the answer with a position a goal in the world,
by the camera's pose at the stamp of the very image. What the gripper then holds is compared with
the truth. The camera's simulated physics decides: a wrong or crooked goal lifts something else, or
nothing.
"""
from __future__ import annotations

import html
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, PointStamped, PoseStamped
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from std_msgs.msg import Header, String

from vr_ros.core.types import Instruction, Perception, Position, Stamp
from vr_ros.evaluation.claims import Claim, write_claims
from vr_ros.evaluation.overlay import jpeg_uri
from vr_ros.evaluation.report import Case
from vr_ros.nodes import qos
from vr_ros.nodes.demo_client import IMAGES_KEPT_S, DemoClient, Exchange, decoded
from vr_ros.nodes.demo_record import Session
from vr_ros.nodes.results import read_stamp
from vr_ros.nodes.screen import ReasoningPrinter, printable
from vr_ros.sim.gripper import grasp_point
from vr_ros.sim.pick_requests import TEMPLATES, PickRequest, draw_request, label
from vr_ros.sim.renderer import render_scene
from vr_ros.sim.truth import FrameTruth

PICKS = 5
RECORDED = ('gripper/goal', 'gripper/held')
LISTENERS = {'depth': 'perception', 'gripper/goal': 'sim_camera', 'gripper/held': 'record'}
# Both images of a stamp have to come through, and each is larger than what is sent on best effort.
PERCEPTION = ('-p', 'depth_topics:=[depth]', *(
    word for topic in ('image', 'depth')
    for word in ('-p', f'qos_overrides./{topic}.subscription.reliability:=reliable')))
WORLD = 'world'
_LIFT_TIMEOUT_S = 20.0
_AFTERWARDS_S = 10.0
# Scenes without a single object that can be asked for, one after the other, before it gives up.
_BARREN = 20
_DRAWS = 20


@dataclass(frozen=True)
class Pick:
    """One wish and what came of it.

    :param asked: the instruction that was sent.
    :param wanted: size, colour and kind of the right object.
    :param held: those of what was lifted, '' for nothing.
    :param goal: x, y, z in the world in metres, None where the gripper was not sent.
    :param why_not: why it was not.
    """

    said: str
    asked: str
    wanted: str
    held: str = ''
    goal: tuple[float, float, float] | None = None
    why_not: str = ''

    @property
    def is_right(self) -> bool:
        return self.held == self.wanted

    @property
    def outcome(self) -> str:
        """What is held, or why nothing is."""
        return self.held or (f'not sent: {self.why_not}' if self.why_not else 'nothing')


@dataclass
class PickSession(Session):
    """What a demo of the gripper has gathered so far.

    :param picks: each with a picture from afterwards, if there is one.
    """

    picks: list[tuple[Pick, np.ndarray | None]] = field(default_factory=list)

    def table(self) -> Table:
        """Sum up."""
        table = Table(box=None, header_style='bold', pad_edge=False)
        for name in ('wish', 'asked', 'right object', 'lifted', ''):
            table.add_column(name)
        for pick, _ in self.picks:
            table.add_row(
                Text(pick.said), Text(printable(pick.asked)), Text(pick.wanted),
                Text(printable(pick.outcome)),
                '[green]right' if pick.is_right else '[red]wrong' if pick.held else '[red]nothing')
        return table

    def write(self, out: Path, seconds: float, problem: str) -> dict[str, Any]:
        """Write page and summary as every demo, with what was lifted."""
        summary = super().write(out, seconds, problem)
        picks = [pick for pick, _ in self.picks]
        summary['picks'] = [asdict(pick) | {'right': pick.is_right} for pick in picks]
        summary['totals']['picks'] = len(picks)
        summary['totals']['right object lifted'] = sum(pick.is_right for pick in picks)
        summary['totals']['wrong object lifted'] = sum(
            bool(pick.held) and not pick.is_right for pick in picks)
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
        (out / 'summary.json').write_bytes(f'{text}\n'.encode('utf-8', 'replace'))
        page = out / 'index.html'
        content = page.read_text(encoding='utf-8')
        page.write_text(content.replace('</main>', f'{picks_html(self.picks)}</main>'),
                        encoding='utf-8')
        return summary


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
                seconds: float, timeout_s: float) -> None:
    """Go through scenes, the first of which is shown, and have one object lifted in each.

    :param objects: how many in each scene; 0 draws 1 to 10.
    :param seconds: go on that long, and for PICKS wishes at least.
    :param timeout_s: for each answer.
    :raises DemoError: a part of it does not answer.
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
            _fulfil(client, session, request, timeout_s)
        seed += 1


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


def _fulfil(client: PickClient, session: PickSession, request: PickRequest,
            timeout_s: float) -> None:
    printer, text = ReasoningPrinter(session.console), request.instruction.text
    exchange = client.ask(Instruction('', text), printer.add, timeout_s)
    printer.end(exchange.result.perception.reasoning)
    pick = _sent(client, exchange, request)
    session.picks.append((pick, client.picture_afterwards()))
    session.ids.append(exchange.result.instruction_id)
    session.add(Case(f'{request.said} (asked: {text})', exchange.result.perception, exchange.image,
                     exchange.truth, 'action', request.instruction.template.replace('_', ' ')))
    mark = Text('right', 'green') if pick.is_right else Text('wrong', 'red')
    session.console.print(Text.assemble(
        'Gripper ', '' if pick.goal is None else f'at {_metres(pick.goal)}: ',
        (printable(pick.outcome), 'bold'), ' · ', mark, (f' · truth: {pick.wanted}', 'dim')))


def _sent(client: PickClient, exchange: Exchange, request: PickRequest) -> Pick:
    said, asked, wanted = request.said, request.instruction.text, label(request.target)
    position = located(exchange.result.perception)
    if isinstance(position, str):
        return Pick(said, asked, wanted, why_not=position)
    goal = client.goal_of(position, exchange.result.stamp)
    if goal is None:
        return Pick(said, asked, wanted, why_not='no camera_pose of that image')
    return Pick(said, asked, wanted, client.lift(goal), goal)


def picks_html(picks: list[tuple[Pick, np.ndarray | None]]) -> str:
    """Write cards for the demo's page: what hung from the gripper afterwards."""
    cards = []
    for pick, picture in picks:
        verdict = 'right' if pick.is_right else 'wrong'
        shown = '<div class="nothing">no picture</div>' if picture is None else (
            f'<svg viewBox="0 0 {picture.shape[1]} {picture.shape[0]}" role="img" '
            f'aria-label="camera image afterwards"><image href="{jpeg_uri(picture)}" '
            f'width="{picture.shape[1]}" height="{picture.shape[0]}"/></svg>')
        where = '' if pick.goal is None else f'<small>sent to {_metres(pick.goal)}</small>'
        cards.append(
            f'<article>{shown}<div class="body"><div class="badges">'
            f'<span class="badge {verdict}">{verdict}</span></div>'
            f'<h2>{html.escape(pick.said)}</h2><dl class="sides">'
            f'<div class="{verdict}"><dt>lifted</dt><dd>{html.escape(printable(pick.outcome))}'
            f'{where}</dd></div><div class="plain"><dt>truth</dt>'
            f'<dd>{html.escape(pick.wanted)}</dd></div></dl></div></article>\n')
    right = sum(pick.is_right for pick, _ in picks)
    return ('<h1 style="margin:2.2rem 0 .4rem">What the gripper held</h1>\n'
            f'<p class="facts">the right object in {right} of {len(picks)}; the gripper itself is '
            f'not drawn</p>\n<div class="cases">\n{"".join(cards)}</div>\n')


def write_pick_claims(path: Path, summary: dict[str, Any]) -> None:
    """Write what a demo of the gripper claims.

    :raises OSError: the file cannot be written.
    """
    totals = summary['totals']
    picks, reason = totals['picks'], '' if totals['picks'] else 'nothing was asked for'
    write_claims(path, [
        Claim(f'demo --pick: {name}', totals[name] / picks if picks else None, 'share',
              better=better, reason=reason)
        for name, better in (('right object lifted', 'higher'), ('wrong object lifted', 'lower'))
    ], seed=summary['seed'], seconds=summary['seconds'],
        details={'totals': totals, 'problem': summary['problem']})


def _metres(goal: tuple[float, float, float]) -> str:
    return '({:.3f}, {:.3f}, {:.3f}) m'.format(*goal)
