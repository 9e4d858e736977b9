"""Runs ``evaluate bag`` in this process, and fills bags with what it is to find."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bag_maker import Bag, header

from vr_ros.evaluation import cli
from vr_ros.evaluation.commands import bag as command
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.runs import summary
from vr_ros.msg import Answer, Outcome


def evaluate(path: Path, *options: object, make: Any = None) -> tuple[int, dict[str, Any]]:
    """:return: exit code and JSON; few draws, as intervals are tested elsewhere."""
    out = path.parent / 'out.json'
    given = cli.parser().parse_args(['bag', *map(str, (path, *options, '--json', out))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, 'figures', lambda *parts, **_: figures(*parts, rounds=20))
        code = command.run(given, make)
    return code, json.loads(out.read_text())


def say(bag: Bag, name: str, stamp: int, text: str, topic: str = '/answer') -> None:
    """Add an answer in words."""
    bag.add(topic, Answer(header=header(stamp, 'front'), answer=text,
                          outcome=Outcome(instruction_id=name, is_final=True)))


def true(bag: Bag, name: str, stamp: int, **more: Any) -> None:
    """Add a true result."""
    bag.answer(name, stamp, '/truth/detections', **more)
