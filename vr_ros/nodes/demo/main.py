"""``./run demo``: a simulated robot camera obeys plain words, over real ROS 2 from end to end."""
from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from vr_ros.core.types import Instruction, PerceptionError
from vr_ros.evaluation.pages.demo_page import Case
from vr_ros.nodes.demo import pick as demo_pick
from vr_ros.nodes.demo import pick_record as demo_pick_record
from vr_ros.nodes.demo.bag import BagError, check_bag
from vr_ros.nodes.demo.client import DemoClient, DemoError
from vr_ros.nodes.demo.options import UsageError, check, parse
from vr_ros.nodes.demo.processes import Processes
from vr_ros.nodes.demo.record import Session, write_demo_claims
from vr_ros.nodes.demo.script import QUESTIONS, Question, questions
from vr_ros.nodes.demo.still import ask_about_picture
from vr_ros.nodes.screen import ReasoningPrinter
from vr_ros.sim.renderer import render_scene
from vr_ros.sim.truth import FrameTruth

EXIT_COMPLETE, EXIT_INCOMPLETE, EXIT_USAGE = 0, 1, 2
GRAPH_TIMEOUT_S, LOAD_TIMEOUT_S, ANSWER_TIMEOUT_S = 60.0, 900.0, 120.0
# What the camera publishes unasked, and what the rest does.
STREAMS = ('image/compressed', 'camera_info', 'camera_pose')
RECORDED = (
    *STREAMS, 'instruction', 'detections', 'count', 'answer', 'perception/active_instruction',
    'truth/detections', 'truth/answer', '/diagnostics')
# Who must listen to what before the first question; the recorder does once all exists.
LISTENERS = {'image': 'perception', 'instruction': 'perception', 'detections': 'sim_camera',
             **{topic: 'record' for topic in (
                 'image/compressed', 'instruction', 'answer', 'count', 'truth/detections',
                 'truth/answer')}}


def run_live(options: argparse.Namespace, session: Session) -> None:
    """Start the robot, ask it, record everything; all of it has ended on return.

    :raises DemoError: a part of it ended, or does not answer.
    :raises BagError: the bag is not what it should be.
    """
    started = time.monotonic()
    session.console.print(
        f'Starting camera, perception ({options.model}) and recorder; logs: {options.out / "logs"}')
    with Processes(options.out / 'logs') as processes:
        _start(processes, options)

        def check() -> None:
            for name, status in processes.ended().items():
                raise DemoError(f'{name} ended with status {status}: {processes.last_words(name)}')

        client = demo_pick.PickClient(check) if options.pick else DemoClient(check)
        try:
            client.wait_for_graph(
                LISTENERS | (demo_pick.LISTENERS if options.pick else {}), GRAPH_TIMEOUT_S)
            client.wait_for_model(LOAD_TIMEOUT_S)
            client.wait_for_recorder(STREAMS, GRAPH_TIMEOUT_S)
            session.graph_s = time.monotonic() - started
            session.console.print(f'Ready after {session.graph_s:.1f} s')
            if options.pick:
                demo_pick.pick_things(
                    client, session, first_seed=options.seed, objects=options.objects,
                    seconds=options.seconds, timeout_s=ANSWER_TIMEOUT_S,
                    camera_stands=not options.orbit)
            else:
                _converse(client, options, session)
        finally:
            client.close()
    session.bag = check_bag(options.out / 'bag', session.ids)


def _start(processes: Processes, options: argparse.Namespace) -> None:
    processes.start_node('perception', 'vr_ros.nodes.perception_node', [
        '--ros-args', '-p', 'autostart:=true', '-p', f'model:={options.model}',
        '-p', f'default_deadline:={ANSWER_TIMEOUT_S - 20}',
        *(demo_pick.PERCEPTION if options.pick else ())])
    processes.start_node('sim_camera', 'vr_ros.nodes.sim.camera_node', [
        '--ros-args', '-p', f'seed:={options.seed}', '-p', f'objects:={options.objects}',
        '-p', f'orbit:={options.orbit}', *(demo_pick.CAMERA if options.pick else ())])
    processes.start_node('record', 'vr_ros.nodes.bags.record', [
        '--out', str(options.out / 'bag'), *RECORDED,
        *(demo_pick.RECORDED if options.pick else ())])


def _converse(client: DemoClient, options: argparse.Namespace, session: Session) -> None:
    end_at = time.monotonic() + options.seconds

    def is_over() -> bool:
        return len(session.cases) >= QUESTIONS and time.monotonic() >= end_at

    for part in itertools.takewhile(lambda _: not is_over(), itertools.count()):
        seed = options.seed + part
        truth = render_scene(seed, count=options.objects or None).truth
        if part:
            client.show_scene(seed)
        session.console.print(f'Scene {seed}: {_in_sight(truth)}', style='dim')
        for question in questions(truth, part, seed):
            if is_over():
                return
            _put(client, question, session)
        if part and not session.cases:
            raise DemoError('these scenes show nothing to ask about')


def _put(client: DemoClient, question: Question, session: Session) -> None:
    how = 'action' if len(session.cases) % 2 == 0 else 'topic'
    session.console.print(Rule(Text(question.text, 'bold'), align='left', style='dim'))
    printer, instruction = ReasoningPrinter(session.console), Instruction('', question.text)
    if how == 'action':
        exchange = client.ask(instruction, printer.add, ANSWER_TIMEOUT_S)
    else:
        exchange = client.tell(instruction, ANSWER_TIMEOUT_S)
    result = exchange.result
    printer.end(result.perception.reasoning)
    session.ids.append(result.instruction_id)
    session.add(Case(
        question.text, result.perception, exchange.image, exchange.truth, how, question.kind))


def _in_sight(truth: FrameTruth) -> str:
    return ', '.join(f'{o.size_name} {o.colour} {o.kind}' for o in truth.targets) or 'nothing'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    :return: 0 complete, 1 an instruction stayed unanswered, 2 bad usage.
    """
    options = parse(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the children on either
    # Never talk to a robot by accident.
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    try:
        check(options)
    except UsageError as error:
        print(f'demo: {error}', file=sys.stderr)
        return EXIT_USAGE
    session = _session(options)
    started, problem = time.monotonic(), ''
    try:
        if options.image:
            session.add(ask_about_picture(options.image, options.ask, options.model,
                                          session.console))
        else:
            clear_bag(options.out / 'bag')
            run_live(options, session)
    except (PerceptionError, OSError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return EXIT_USAGE
    except (DemoError, BagError) as error:
        problem = str(error)
    except KeyboardInterrupt:
        problem = 'interrupted'
    try:
        return _finish(options, session, time.monotonic() - started, problem)
    except OSError as error:
        print(f'demo: {problem or error}', file=sys.stderr)
        return EXIT_INCOMPLETE


def _session(options: argparse.Namespace) -> Session:
    if options.image:
        return Session(Console(), options.model, str(options.image), None)
    objects = f'{options.objects} objects' if options.objects else '1 to 10 objects'
    kind = demo_pick_record.PickSession if options.pick else Session
    return kind(Console(), options.model, f'{objects}, from seed {options.seed} on', options.seed)


def _finish(options: argparse.Namespace, session: Session, seconds: float, problem: str) -> int:
    summary = session.write(options.out, seconds, problem)
    totals = summary['totals']
    if session.cases:
        session.console.print(Rule(style='dim'), session.table())
        session.console.print(session.total())
    if session.bag:
        session.console.print(
            f'Bag: {options.out / "bag"}, {session.bag["messages"]} messages of '
            f'{len(session.bag["topics"])} topics; rosbags and mcap agree')
    if options.json:
        write = (demo_pick_record.write_pick_claims if options.pick
                 else write_demo_claims)
        write(options.json, summary)
    if problem:
        where = '' if options.image else f'; logs: {options.out / "logs"}'
        print(f'demo: {problem}{where}', file=sys.stderr)
    if session.cases:
        page = (options.out / 'index.html').absolute()
        session.console.print(f'Report: {page}', soft_wrap=True)
        if options.view and not webbrowser.open(page.as_uri()):
            session.console.print('No browser here: open the report by hand.')
    is_complete = not problem and 0 < totals['instructions'] == totals['answered']
    return EXIT_COMPLETE if is_complete else EXIT_INCOMPLETE


def clear_bag(directory: Path) -> None:
    """Make room for a new bag, where nothing but an earlier bag is in the way.

    :raises OSError: something else is.
    """
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        if path.suffix not in ('.mcap', '.yaml'):
            raise OSError(f'{path} is not of an earlier demo; choose another --out')
    for path in list(directory.iterdir()):
        path.unlink()
    directory.rmdir()


if __name__ == '__main__':
    raise SystemExit(main())
