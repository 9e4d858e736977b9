"""What a demo of the gripper leaves behind: wishes, and what was lifted."""
from __future__ import annotations

import html
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from vr_ros.evaluation.claims import Claim, write_claims
from vr_ros.evaluation.pages.overlay import jpeg_uri
from vr_ros.nodes.demo.record import Session
from vr_ros.nodes.screen import printable


@dataclass(frozen=True)
class Pick:
    """One wish and what came of it.

    :param asked: the instruction that was sent.
    :param wanted: size, colour and kind of the right object, None where the image that was
        answered about gives no clear answer.
    :param held: those of what was lifted, '' for nothing.
    :param goal: x, y, z in the world in metres, None where the gripper was not sent.
    :param why_not: why it was not.
    """

    said: str
    asked: str
    wanted: str | None
    held: str = ''
    goal: tuple[float, float, float] | None = None
    why_not: str = ''

    @property
    def is_right(self) -> bool | None:
        """Whether the right object was lifted, and no other; None where that is not known."""
        return None if self.wanted is None else bool(self.held) and self.held == self.wanted

    @property
    def verdict(self) -> str:
        """In a word; '' where it is not known."""
        return {True: 'right', False: 'wrong' if self.held else 'nothing', None: ''}[self.is_right]

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
        for name in ('wish', 'asked', 'right object', 'lifted', 'verdict'):
            table.add_column(name)
        for pick, _ in self.picks:
            table.add_row(
                Text(pick.said), Text(printable(pick.asked)), Text(pick.wanted or '-'),
                Text(printable(pick.outcome)),
                Text(pick.verdict, 'green' if pick.is_right else 'red'))
        return table

    def total(self) -> str:
        """Say in one line how it went."""
        verdicts = [pick.verdict for pick, _ in self.picks if pick.verdict]
        return f'the right object lifted in {verdicts.count("right")} of {len(verdicts)}'

    def write(self, out: Path, seconds: float, problem: str) -> dict[str, Any]:
        """Write page and summary as every demo, with what was lifted."""
        summary = super().write(out, seconds, problem)
        picks = [pick for pick, _ in self.picks]
        verdicts = [pick.verdict for pick in picks if pick.verdict]
        summary['picks'] = [asdict(pick) | {'right': pick.is_right} for pick in picks]
        summary['totals'] |= {
            'picks with known truth': len(verdicts),
            'right object lifted': verdicts.count('right'),
            'wrong object lifted': verdicts.count('wrong')}
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
        (out / 'summary.json').write_bytes(f'{text}\n'.encode('utf-8', 'replace'))
        if not self.cases:
            return summary
        page = out / 'index.html'
        content = page.read_text(encoding='utf-8')
        page.write_text(content.replace('</main>', f'{picks_html(self.picks)}</main>'),
                        encoding='utf-8')
        return summary


def picks_html(picks: list[tuple[Pick, np.ndarray | None]]) -> str:
    """Write cards for the demo's page: what hung from the gripper afterwards."""
    cards = []
    for pick, picture in picks:
        tone = {True: 'right', False: 'wrong', None: 'plain'}[pick.is_right]
        badge = f'<span class="badge {tone}">{pick.verdict}</span>' if pick.verdict else ''
        shown = '<div class="nothing">no picture</div>' if picture is None else (
            f'<svg viewBox="0 0 {picture.shape[1]} {picture.shape[0]}" role="img" '
            f'aria-label="camera image afterwards"><image href="{jpeg_uri(picture)}" '
            f'width="{picture.shape[1]}" height="{picture.shape[0]}"/></svg>')
        truth = html.escape(pick.wanted or 'not clear in that image')
        where = '' if pick.goal is None else f'<small>sent to {metres(pick.goal)}</small>'
        cards.append(
            f'<article>{shown}<div class="body"><div class="badges">{badge}</div>'
            f'<h2>{html.escape(pick.said)}</h2><dl class="sides">'
            f'<div class="{tone}"><dt>lifted</dt><dd>{html.escape(printable(pick.outcome))}'
            f'{where}</dd></div><div class="plain"><dt>truth</dt>'
            f'<dd>{truth}</dd></div></dl></div></article>\n')
    right = sum(bool(pick.is_right) for pick, _ in picks)
    return ('<h1 style="margin:2.2rem 0 .4rem">What the gripper held</h1>\n'
            f'<p class="facts">the right object in {right} of {len(picks)}; the gripper itself is '
            f'not drawn</p>\n<div class="cases">\n{"".join(cards)}</div>\n')


def write_pick_claims(path: Path, summary: dict[str, Any]) -> None:
    """Write what a demo of the gripper claims.

    :raises OSError: the file cannot be written.
    """
    totals = summary['totals']
    picks = totals['picks with known truth']
    reason = '' if picks else 'nothing was asked for whose truth is known'
    write_claims(path, [
        Claim(f'demo --pick: {name}', totals[name] / picks if picks else None, 'share',
              better=better, reason=reason)
        for name, better in (('right object lifted', 'higher'), ('wrong object lifted', 'lower'))
    ], seed=summary['seed'], seconds=summary['seconds'],
        details={'totals': totals, 'problem': summary['problem']})


def metres(goal: tuple[float, float, float]) -> str:
    """Write a point."""
    return '({:.3f}, {:.3f}, {:.3f}) m'.format(*goal)
