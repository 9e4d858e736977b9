"""The demo's command line: what is wrong is said in one line, before anything starts."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from vr_ros.nodes.demo.main import main
from vr_ros.nodes.demo.options import UsageError, check, parse

TOO_LONG = 'x' * 5000


@pytest.mark.parametrize(('arguments', 'complaint'), [
    (['--image', 'x.png'], '--image and --ask belong together'),   # nothing to ask
    (['--ask', 'what is this?'], '--image and --ask belong'),      # nothing to look at
    (['--pick', '--image', 'x', '--ask', 'x'], '--pick needs'),    # no robot in a picture
    (['--seconds', '-1'], '--seconds is a number from 0 on'),      # in the past
    (['--seconds', 'nan'], '--seconds is a number from 0 on'),     # no number
    (['--seed', '-1'], '--seed is a whole number from 0 on'),
    (['--objects', '11'], '--objects is 0 to 10'),                 # more than fit
    (['--objects', '-1'], '--objects is 0 to 10'),
    (['--orbit', '360'], '--orbit is -90 to 90'),                  # too fast
    (['--nonsense'], 'unrecognized arguments'),                    # unknown
])
def test_bad_usage_is_status_2_and_names_its_option_alone(
        arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert complaint in last
    named = {word for word in last.replace(',', '').split() if word.startswith('--')}
    assert named <= set(arguments) | {'--image', '--ask'}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a file, a folder and something like a picture."""
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('VR_ROS_WORKER_BACKEND', raising=False)
    return tmp_path


PICTURE = ['--image', 'file', '--ask', 'what is this?']


@pytest.mark.parametrize(('arguments', 'complaint'), [
    (['--image', 'file', '--ask', ''], 'is empty'),
    (['--image', 'file', '--ask', ' ?'], 'is empty'),               # says nothing
    (['--image', 'file', '--ask', TOO_LONG], '5000 characters'),
    (['--image', 'folder', '--ask', 'x'], '--image folder is a folder'),
    (['--image', 'none', '--ask', 'x'], '--image none: there is no such file'),
    (['--image', '', '--ask', 'x'], '--image needs a name'),
    (['--model', 'nonsense'], 'unknown model card "nonsense"'),
    (['--model', 'nonsense', *PICTURE], 'unknown model card "nonsense"'),
    (['--model', 'none.yaml'], 'no model card at'),
    (['--out', ''], '--out needs a name'),
    (['--out', 'file'], '--out file is a file'),
    (['--out', 'file/x'], '--out file/x cannot be made: Not a directory'),
    (['--json', ''], '--json needs a name'),
    (['--json', 'folder'], '--json folder cannot be written: Is a directory'),
    (['--json', '/proc/x/y'], '--json /proc/x/y cannot be written'),
])
def test_what_cannot_work_is_refused_in_one_line_before_anything_starts(
        arguments: list[str], complaint: str, place: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    before = sorted(path for path in place.rglob('*') if 'out' not in path.parts)
    assert main(arguments) == 2
    captured = capfd.readouterr()
    assert captured.out == ''
    assert captured.err.startswith('demo: ') and captured.err.count('\n') == 1
    assert complaint in captured.err
    left = sorted(path for path in place.rglob('*') if path.relative_to(place).parts[0] != 'out')
    assert left == before


@pytest.mark.parametrize(('arguments', 'folder'), [
    ([], 'out/demo'),
    (PICTURE, 'out/picture'),                        # leaves the report of the robot alone
    ([*PICTURE, '--out', 'mine/a'], 'mine/a'),
])
def test_pictures_have_a_folder_of_their_own(
        arguments: list[str], folder: str, place: Path) -> None:
    options = parse(arguments)
    check(options)
    assert options.out == Path(folder) and (place / folder).is_dir()


def test_the_file_of_claims_is_tried_and_left_as_it_is(place: Path) -> None:
    (place / 'claims.json').write_text('earlier')
    for name in ('claims.json', 'new/claims.json'):
        options = parse(['--json', name])
        check(options)
        assert options.json == Path(name)
    assert (place / 'claims.json').read_text() == 'earlier'
    assert not (place / 'new/claims.json').exists()


def test_a_back_end_of_ones_own_has_its_own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, 'VR_ROS_WORKER_BACKEND', 'mine:Backend')
    check(parse(['--model', 'nonsense']))
    with pytest.raises(UsageError, match='unknown model card'):
        check(parse(['--model', 'nonsense', *PICTURE]))    # pictures do without a worker
