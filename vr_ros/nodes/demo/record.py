"""What a demo leaves behind: the table at its end, the page, the summary, the claims."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vr_ros.evaluation.claims import Claim, machine_description, package_versions, write_claims
from vr_ros.evaluation.pages.demo_page import Case, Report, write_report
from vr_ros.evaluation.pages.words import comparison
from vr_ros.evaluation.totals import totals_line
from vr_ros.nodes.results import perception_json
from vr_ros.nodes.screen import print_perception, printable

START_TARGET_S = 20.0
_SHOWN_VERSIONS = {'vr_ros': 'vr_ros', 'rclpy': 'rclpy', 'python': 'Python', 'torch': 'torch',
                   'transformers': 'transformers'}


@dataclass
class Session:
    """What a demo has gathered so far.

    :param ids: of the instructions that went over the graph.
    :param graph_s: seconds until the graph was complete and the model ready.
    :param bag: what is in the bag, once that was checked.
    """

    console: Console
    model: str
    scene: str
    seed: int | None
    cases: list[Case] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    graph_s: float | None = None
    bag: dict[str, Any] | None = None

    def add(self, case: Case) -> None:
        """Show an answer and its verdict, and keep it."""
        self.cases.append(case)
        print_perception(self.console, case.perception)
        if case.truth is not None:
            self.console.print(Text.assemble(
                _verdict(case), (f' · truth: {printable(_said(case)[1])}', 'dim')))

    def table(self) -> Table:
        """Sum up."""
        table = Table(box=None, header_style='bold', pad_edge=False)
        has_truth = any(case.truth is not None for case in self.cases)
        for name in ('instruction', 'status', 'answer', *(['truth'] if has_truth else ()),
                     'seconds', *(['verdict'] if has_truth else ())):
            table.add_column(name, justify='right' if name == 'seconds' else 'left')
        for case in self.cases:
            answer, truth = (Text(printable(said)) for said in _said(case))
            seconds = f'{case.perception.timing.total_ms / 1e3:.1f}'
            row = (Text(printable(case.text)), case.perception.status.name, answer)
            table.add_row(
                *row, *((truth, seconds, _verdict(case)) if has_truth else (seconds,)))
        return table

    def total(self) -> str:
        """Say in one line how it went."""
        return totals_line(Report('', self.cases).totals())

    def write(self, out: Path, seconds: float, problem: str) -> dict[str, Any]:
        """Write the summary, and the page if there is something to show: an earlier one is worth
        more than an empty one.

        :param seconds: how long all of it took.
        :param problem: why it is not complete; '' when it is.
        :return: the summary.
        """
        versions = package_versions()
        report = Report('vr_ros demo', self.cases, {
            **({'incomplete': problem} if problem else {}),
            'scene': self.scene, 'model': self.model, **{
                shown: versions[name] for name, shown in _SHOWN_VERSIONS.items()
                if name in versions}})
        if self.cases:
            write_report(report, out / 'index.html')
        summary = {
            'instructions': [_entry(case) for case in self.cases],
            'totals': {**report.totals(), 'median_ms': report.median_ms}, 'bag': self.bag,
            'graph_s': None if self.graph_s is None else round(self.graph_s, 2),
            'model': self.model, 'scene': self.scene, 'seed': self.seed, 'problem': problem,
            'seconds': round(seconds, 1), 'versions': versions, 'machine': machine_description()}
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
        (out / 'summary.json').write_bytes(f'{text}\n'.encode('utf-8', 'replace'))
        return summary


def write_demo_claims(path: Path, summary: dict[str, Any]) -> None:
    """Write what a demo claims.

    :raises OSError: the file cannot be written.
    """
    totals = summary['totals']
    known, graph_s, median_ms = (
        totals['with known truth'], summary['graph_s'], totals['median_ms'])
    nothing = 'nothing was answered'
    write_claims(path, [
        Claim('demo: instructions answered', totals['answered'] / max(totals['instructions'], 1),
              'share', 1.0),
        Claim('demo: answers right', totals['right'] / known if known else None, 'share',
              reason='' if known else 'no answer with known truth'),
        Claim('demo: time to answer, median', median_ms, 'ms', better='lower',
              reason='' if median_ms is not None else nothing),
        Claim('demo: start of the graph with its model', graph_s, 's', START_TARGET_S, 'lower',
              reason='' if graph_s is not None else 'no graph was started'),
    ], seed=summary['seed'], seconds=summary['seconds'],
        details={'totals': totals, 'problem': summary['problem']})


def _verdict(case: Case) -> Text:
    """Say whether an answer is right, and if not, what is wrong about the objects."""
    if case.is_right is None:
        return Text('')
    if case.is_right:
        return Text('right', 'green')
    why = comparison(*case.ending)
    return Text.assemble(('wrong', 'red'), f': {why}' if why else '')


def _said(case: Case) -> tuple[str, str]:
    """:return: answer and truth in a word."""
    perception, truth = case.perception, case.truth
    answer = '-' if perception.status.is_error else perception.answer or str(perception.count)
    return answer, '-' if truth is None else ', '.join(truth.answers) or str(truth.count)


def _entry(case: Case) -> dict[str, Any]:
    truth = case.truth
    return {
        'instruction': case.text, 'kind': case.kind, 'sent_by': case.how,
        **perception_json(case.perception, masks=False),
        'truth': None if truth is None else {
            'task': truth.task.name, 'answer': ', '.join(truth.answers), 'count': truth.count,
            'labels': list(truth.labels),
            'boxes': [[round(v, 2) for v in found.box] for found in truth.objects]},
        'hits': case.hits, 'right': case.is_right}
