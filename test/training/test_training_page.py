"""What docs/training.md says of rewards: programs run as they are pasted, truths can be read."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vr_ros.core.types import Size
from vr_ros.training.rewards.masks import mask_verifier
from vr_ros.training.rewards.registry import default_registry
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.scoring import Scorer

PAGE = (Path(__file__).parents[2] / 'docs' / 'training.md').read_text(encoding='utf-8')
PROGRAMS = re.findall(r'^```python\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE)
# Name of a verifier, and the cell of its ground truth.
TRUTHS = dict(re.findall(r'^\| `(\w+)` \| (.*?) \|', PAGE.partition('### Verifiers')[2].partition(
    "### A verifier of one's own")[0], re.MULTILINE))


def test_the_page_has_programs() -> None:
    assert len(PROGRAMS) == 2


@pytest.mark.parametrize('program', PROGRAMS, ids=lambda program: program.count('\n'))
def test_a_program_prints_what_its_comments_say(program: str, tmp_path: Path) -> None:
    file = tmp_path / 'program.py'
    file.write_text(program, encoding='utf-8')
    done = subprocess.run([sys.executable, file], cwd=tmp_path, capture_output=True, text=True,
                          timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, '')
    said = re.findall(r'^ *print\(.*# (.*)$', program, re.MULTILINE)
    assert said and done.stdout.splitlines() == said


def test_the_table_has_every_verifier() -> None:
    assert set(TRUTHS) == {*default_registry().names, 'masks'}


@pytest.mark.parametrize('name', sorted(set(TRUTHS) - {'mixture'}))
def test_every_truth_in_the_table_can_be_read(name: str) -> None:
    scorer = Scorer(default_registry().with_verifiers(mask_verifier(lambda *_: [])))
    # `mode` is a parameter.
    truths = [text for text in re.findall('`(.*?)`', TRUTHS[name])
              if text not in {'mode', *TRUTHS}]
    assert truths
    for truth in truths:
        scorer.check(Sample(name, truth, image_size=Size(640, 480)))
