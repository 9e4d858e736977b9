"""The run script: its own quality, its usage errors, and what it says when something is missing."""
from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = ('demo', 'test', 'evaluate', 'bench', 'train', 'setup', 'shell', 'exec')
PARTS = ('run', 'scripts', 'requirements', 'msg', 'srv', 'action', 'CMakeLists.txt', 'package.xml')
COREUTILS = ('bash', 'cat', 'cut', 'dirname', 'find', 'flock', 'grep', 'mkdir', 'readlink', 'rm',
             'sha256sum', 'sort', 'tail')


def call(*arguments: str, at: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {'PATH': os.environ['PATH'], 'HOME': os.environ.get('HOME', '/'), **variables}
    return subprocess.run([at / 'run', *arguments], env=environment, capture_output=True, text=True,
                          timeout=60, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Copy what the set-up reads, so that it cannot touch the environment that is in use."""
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copy2(source, tmp_path / name)
    return tmp_path


@pytest.fixture
def bare_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a PATH with the core utilities only: no compiler, no cmake, no Python."""
    folder = tmp_path_factory.mktemp('bin')
    for name in COREUTILS:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return folder


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, len(lines)) == (code, 1), done.stderr
    for word in words:
        assert word in lines[0]


def test_scripts_are_clean() -> None:
    shellcheck = shutil.which('shellcheck') or Path(sys.executable).with_name('shellcheck')
    files = [ROOT / 'run', ROOT / '.ci' / 'run', *sorted((ROOT / 'scripts').glob('*.bash'))]
    done = subprocess.run([shellcheck, '--external-sources', *files], cwd=ROOT, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize('spelling', ['help', '-h', '--help'])
def test_help_names_every_command(spelling: str) -> None:
    done = call(spelling)
    assert (done.returncode, done.stderr) == (0, '')
    for command in COMMANDS:
        assert f'\n  {command} ' in done.stdout


@pytest.mark.parametrize(('arguments', 'word'), [
    ((), 'which command'),                       # nothing
    (('dmo',), "no command 'dmo'"),              # misspelt
    (('',), 'which command'),                    # empty
    (('--verbose',), "no command '--verbose'"),  # an option in place of a command
    (('exec',), 'exec needs a command'),         # nothing to execute
    (('bench', 'no_such'), "no benchmark 'no_such'"),
    (('setup', 'extra'), 'setup takes no arguments, got: extra'),
    (('shell', 'ls'), 'shell takes no arguments, got: ls'),
])
def test_bad_usage_is_one_line(arguments: tuple[str, ...], word: str) -> None:
    assert_one_line(call(*arguments), 2, word)


@pytest.mark.parametrize('command', ['bench', 'setup', 'shell', 'exec'])
@pytest.mark.parametrize('spelling', ['-h', '--help'])
def test_help_of_a_command_sets_nothing_up(clone: Path, command: str, spelling: str) -> None:
    done = call(command, spelling, at=clone)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith(f'Usage: ./run {command}')
    assert not (clone / '.ws').exists()


@pytest.mark.parametrize('domain', ['abc', '9999', '233', '-1', '1.5', ' ', '0x10', '5; ls'])
def test_a_domain_that_ros_has_not_is_refused_before_the_set_up(clone: Path, domain: str) -> None:
    assert_one_line(call('exec', 'true', at=clone, VR_ROS_DOMAIN_ID=domain), 2,
                    'VR_ROS_DOMAIN_ID', domain, '0 to 232')
    assert not (clone / '.ws').exists()


@pytest.mark.parametrize(('domain', 'expected'), [('0', '0'), ('007', '7'), ('232', '232')])
def test_a_domain_of_ros_is_taken(domain: str, expected: str) -> None:
    script = f'source {ROOT}/scripts/setup.bash; source {ROOT}/scripts/environment.bash; '
    done = subprocess.run(
        ['bash', '-c', script + 'check_domain; take_domain; echo "$ROS_DOMAIN_ID"'],
        env={'PATH': os.environ['PATH'], 'ROOT': str(ROOT), 'VR_ROS_DOMAIN_ID': domain},
        capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f'{expected}\n', '')


def test_unknown_distro_is_one_line(clone: Path) -> None:
    assert_one_line(call('setup', at=clone, ROS_DISTRO='noetic'), 2, 'noetic', 'jazzy kilted')


def test_bench_without_a_name_lists_what_there_is() -> None:
    names = {path.stem.removeprefix('bench_') for path in ROOT.glob('benchmarks/bench_*.py')}
    listed = call('bench').stdout.removeprefix('Benchmarks:').split()
    assert set(listed) == (names or {'none'})


@pytest.mark.parametrize(('missing', 'present', 'package'), [
    ('compiler', (), 'build-essential'),
    ('cmake', ('c++',), 'apt-get install cmake'),
    ('Python', ('c++', 'cmake'), 'python3-venv'),
])
def test_missing_tool_is_named_with_its_package(
    clone: Path, bare_path: Path, missing: str, present: tuple[str, ...], package: str,
) -> None:
    for name in present:
        (bare_path / name).symlink_to('/bin/true')
    done = call('setup', at=clone, PATH=str(bare_path), PYTHON='python3')
    assert_one_line(done, 1, package)
    assert not (clone / '.venv').exists()


@pytest.mark.parametrize(('answer', 'word'), [
    ('sys.version_info = (3, 10, 0)', 'out of range'),
    ('sys.modules["ensurepip"] = None', 'python3-venv'),
    ('real = sysconfig.get_paths\n'
     'sysconfig.get_paths = lambda *a: {**real(*a), "include": "/nowhere"}', 'python3-dev'),
])
def test_unfit_python_is_refused(clone: Path, answer: str, word: str) -> None:
    site = clone / 'site'
    site.mkdir()
    (site / 'sitecustomize.py').write_text(f'import sys, sysconfig\n{answer}\n')
    wrapper = clone / 'python'
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    done = call('setup', at=clone, PYTHON=str(wrapper), ROS_DISTRO='jazzy')
    assert_one_line(done, 1, word)
    assert not (clone / '.venv').exists()


@pytest.mark.parametrize('line', [
    'VIRTUAL_ENV="/elsewhere/.venv"',    # copied from another place
    '',                                  # not an environment at all
])
def test_foreign_environment_is_never_touched(clone: Path, line: str) -> None:
    folder = clone / '.venv' / 'bin'
    folder.mkdir(parents=True)
    (folder / 'python').symlink_to(sys.executable)
    (folder / 'activate').write_text(line)
    before = sorted(path.relative_to(clone) for path in (clone / '.venv').rglob('*'))
    done = call('setup', at=clone, ROS_DISTRO='jazzy')
    assert_one_line(done, 1, str(clone / '.venv'), 'remove it')
    assert sorted(path.relative_to(clone) for path in (clone / '.venv').rglob('*')) == before


@pytest.mark.parametrize('template', [
    'VIRTUAL_ENV="{}"',            # Python 3.10, 3.11
    'VIRTUAL_ENV={}',              # 3.12 on
    "    export VIRTUAL_ENV='{}'",  # a path that needs quotes
])
def test_own_environment_is_recognised(clone: Path, template: str) -> None:
    folder = clone / '.venv' / 'bin'
    folder.mkdir(parents=True)
    (folder / 'activate').write_text(template.format(clone / '.venv'))
    marker = folder / 'called'
    python = folder / 'python'
    python.write_text(f'#!/bin/sh\necho "$@" > {marker}\nexit 1\n')
    python.chmod(0o755)
    done = call('setup', at=clone, ROS_DISTRO='jazzy')
    assert done.returncode == 1
    assert '-m pip install' in marker.read_text()     # it went on to use it, and did not remake it
    assert '-m venv' not in marker.read_text()


@pytest.fixture
def fixer() -> ModuleType:
    spec = importlib.util.spec_from_file_location('fixer', ROOT / 'scripts' / 'fix_wheel_paths.py')
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_baked_paths_are_rewritten_once(fixer: ModuleType, tmp_path: Path) -> None:
    import sysconfig

    import numpy as np

    baked = '/opt/python/cp312-cp312'
    file = tmp_path / 'share' / 'pkg' / 'cmake' / 'export.cmake'
    file.parent.mkdir(parents=True)
    other = file.with_name('notes.txt')
    other.write_text(baked)
    file.write_text(
        f'"{baked}/lib/python3.12/site-packages/numpy/_core/include;'
        f'{baked}/include/python3.12;{baked}/lib/libpython.so;/opt/pythonic"')
    assert fixer.fix_tree(tmp_path) == 1
    include = sysconfig.get_paths()['include']
    assert file.read_text() == (
        f'"{np.get_include()};{include};{tmp_path}/lib/libpython.so;/opt/pythonic"')
    assert other.read_text() == baked
    assert fixer.fix_tree(tmp_path) == 0
