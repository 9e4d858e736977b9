"""``./run demo``: a simulated robot camera obeys plain words, over real ROS 2 from end to end."""
from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from vr_ros.core.types import Instruction, PerceptionError
from vr_ros.evaluation.claims import Claim, machine_description, package_versions, write_claims
from vr_ros.evaluation.report import Case, Report, write_report
from vr_ros.nodes.demo_client import DemoClient, DemoError, Exchange
from vr_ros.nodes.demo_processes import Processes
from vr_ros.nodes.demo_script import PROGRAMME, programme
from vr_ros.nodes.demo_still import ask_about_picture
from vr_ros.nodes.results import perception_json
from vr_ros.nodes.screen import ReasoningPrinter, print_perception, printable
from vr_ros.sim.instructions import HELDOUT_SEED
from vr_ros.sim.renderer import TableCamera
from vr_ros.sim.scene import sample_scene

EXIT_COMPLETE, EXIT_INCOMPLETE, EXIT_USAGE = 0, 1, 2
# The camera's picture goes to the perception node, the recorder and the demo itself.
SUBSCRIBERS_OF_IMAGE = 3
START_TIMEOUT_S, ANSWER_TIMEOUT_S = 90.0, 120.0


@dataclass
class Session:
    """What a demo has gathered so far."""

    console: Console
    cases: list[Case] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Show an answer and its verdict, and keep it."""
        self.cases.append(case)
        print_perception(self.console, case.perception)
        if case.truth is not None:
            said = case.truth.answer or str(len(case.truth.detections))
            mark = Text('right', 'green') if case.is_right else Text('wrong', 'red')
            self.console.print(Text.assemble(mark, (f' · truth: {said}', 'dim')))

    def table(self) -> Table:
        """Sum up."""
        table = Table(box=None, header_style='bold', pad_edge=False)
        for name in ('instruction', 'status', 'answer', 'truth', 's', ''):
            table.add_column(name, justify='right' if name == 's' else 'left')
        for case in self.cases:
            found, truth = case.perception, case.truth
            table.add_row(
                Text(printable(case.text)), found.status.name,
                Text(printable(found.answer or str(found.count))),
                '-' if truth is None else truth.answer or str(len(truth.detections)),
                f'{found.timing.total_ms / 1e3:.1f}',
                {True: '[green]right', False: '[red]wrong', None: ''}[case.is_right])
        return table


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    :raises SystemExit: with status 2, bad usage.
    """
    parser = argparse.ArgumentParser(
        prog='run demo', description=__doc__,
        epilog='Exit status: 0 complete, 1 an instruction stayed unanswered, 2 bad usage.')
    parser.add_argument('--seconds', type=float, default=0.0,
                        help='go on asking that long (default: each kind of instruction once)')
    parser.add_argument('--out', type=Path, default=Path('out/demo'))
    parser.add_argument('--seed', type=int, default=HELDOUT_SEED + 7, help='of the scene')
    parser.add_argument('--objects', type=int, default=4,
                        help='how many; the default is a simple scene, 0 draws 1 to 10')
    parser.add_argument('--orbit', type=float, default=0.0, help='degrees per second of the camera')
    parser.add_argument('--model', default='sim_tiny', help='model card')
    parser.add_argument('--view', action='store_true', help='open the report in a browser')
    parser.add_argument('--json', type=Path, help='write the claims there')
    parser.add_argument('--image', type=Path, help='ask about this picture, without ROS')
    parser.add_argument('--ask', help='what to ask about it')
    options = parser.parse_args(arguments)
    if bool(options.image) != bool(options.ask):
        parser.error('--image and --ask belong together')
    if options.seconds < 0 or options.seed < 0 or not 0 <= options.objects <= 10:
        parser.error('--seconds and --seed are not negative, --objects is 0 to 10')
    return options


def run_live(options: argparse.Namespace, session: Session) -> None:
    """Start the robot, ask it, record everything.

    :raises DemoError: a part of it ended, or does not answer.
    """
    console = session.console
    scene = sample_scene(options.seed, options.objects or None)
    with TableCamera(scene) as camera:
        truth = camera.render().truth
    console.print(f'Scene {options.seed} with {len(truth.targets)} objects in sight; starting '
                  f'camera, perception ({options.model}) and recorder …')
    with Processes(options.out / 'logs') as processes:
        _start(processes, options)

        def check() -> None:
            for name, status in processes.ended().items():
                raise DemoError(f'{name} ended with status {status}: {processes.last_words(name)}')

        client = DemoClient(check)
        try:
            client.wait_for_graph(SUBSCRIBERS_OF_IMAGE, START_TIMEOUT_S)
            _converse(client, options, truth, session)
        finally:
            client.close()


def _start(processes: Processes, options: argparse.Namespace) -> None:
    processes.start_node('record', 'vr_ros.nodes.record', ['--out', str(options.out / 'bag')])
    processes.start_node('sim_camera', 'vr_ros.nodes.sim_camera_node', [
        '--ros-args', '-p', f'seed:={options.seed}', '-p', f'objects:={options.objects}',
        '-p', f'orbit:={options.orbit}'])
    processes.start_node('perception', 'vr_ros.nodes.perception_node', [
        '--ros-args', '-p', 'autostart:=true', '-p', f'model:={options.model}',
        '-p', f'default_deadline:={ANSWER_TIMEOUT_S - 20}'])


def _converse(client: DemoClient, options: argparse.Namespace, truth: Any,
              session: Session) -> None:
    started, console = time.monotonic(), session.console
    for number, chosen in enumerate(programme(truth, options.seed)):
        is_over = time.monotonic() - started >= options.seconds
        if number >= len(PROGRAMME) and is_over:
            return
        how = 'action' if number % 2 == 0 else 'topic'
        console.print(Rule(Text(chosen.text, 'bold'), align='left', style='dim'))
        printer = ReasoningPrinter(console)
        instruction = Instruction('', chosen.text)
        if how == 'action':
            exchange = client.ask(instruction, printer.add, ANSWER_TIMEOUT_S)
        else:
            exchange = client.tell(instruction, ANSWER_TIMEOUT_S)
        printer.end(exchange.result.perception.reasoning)
        session.add(_case(chosen.text, exchange, how))


def _case(text: str, exchange: Exchange, how: str) -> Case:
    return Case(text, exchange.result.perception, exchange.image, exchange.truth, how)


def write_record(options: argparse.Namespace, session: Session, seconds: float) -> dict[str, Any]:
    """Write the page and the summary.

    :return: the summary.
    """
    versions = package_versions()
    objects = f'{options.objects} objects' if options.objects else '1 to 10 objects'
    scene = 'your picture' if options.image else f'{options.seed}, {objects}'
    report = Report('vr_ros demo', session.cases, {
        'scene': scene, 'model': options.model, **{
            name: versions[name] for name in ('python', 'torch', 'transformers')
            if name in versions}})
    write_report(report, options.out / 'index.html')
    summary = {
        'instructions': [_entry(case) for case in session.cases], 'totals': report.totals(),
        'model': options.model, 'seed': options.seed, 'seconds': round(seconds, 1),
        'versions': versions, 'machine': machine_description()}
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    (options.out / 'summary.json').write_text(text + '\n', encoding='utf-8')
    return summary


def _entry(case: Case) -> dict[str, Any]:
    truth = case.truth
    return {
        'instruction': case.text, 'sent_by': case.how, **perception_json(case.perception),
        'truth': None if truth is None else {
            'task': truth.task.name, 'answer': truth.answer, 'count': len(truth.detections),
            'boxes': [[round(v, 2) for v in d.box] for d in truth.detections]},
        'hits': case.hits, 'right': case.is_right}


def _write_claims(path: Path, summary: dict[str, Any], options: argparse.Namespace) -> None:
    totals = summary['totals']
    known = totals['with known truth']
    write_claims(path, [
        Claim('demo: instructions answered', totals['answered'] / totals['instructions'], 'share',
              1.0),
        Claim('demo: answers right', totals['right'] / known if known else None, 'share',
              reason='' if known else 'no answer with known truth'),
    ], seed=options.seed, seconds=summary['seconds'], details={'totals': totals})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    :return: 0 complete, 1 an instruction stayed unanswered, 2 bad usage.
    """
    options = parse(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the children on either
    session, problem = Session(Console()), ''
    started = time.monotonic()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        if options.image:
            session.add(ask_about_picture(options.image, options.ask, options.model,
                                          session.console))
        else:
            _clear_bag(options.out / 'bag')
            run_live(options, session)
    except (PerceptionError, OSError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return EXIT_USAGE
    except DemoError as error:
        problem = str(error)
    except KeyboardInterrupt:
        problem = 'interrupted'
    if not session.cases:
        print(f'demo: {problem}; see {options.out / "logs"}', file=sys.stderr)
        return EXIT_INCOMPLETE
    summary = write_record(options, session, time.monotonic() - started)
    session.console.print(Rule(style='dim'), session.table())
    if options.json:
        _write_claims(options.json, summary, options)
    session.console.print(f'Report: {(options.out / "index.html").absolute()}')
    if options.view and not webbrowser.open((options.out / 'index.html').absolute().as_uri()):
        session.console.print('No browser here: open the report by hand.')
    if problem:
        print(f'demo: {problem}; see {options.out / "logs"}', file=sys.stderr)
    totals = summary['totals']
    is_complete = not problem and totals['answered'] == totals['instructions']
    return EXIT_COMPLETE if is_complete else EXIT_INCOMPLETE


def _clear_bag(directory: Path) -> None:
    """Make room for a new bag, where nothing but an earlier bag is in the way."""
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
