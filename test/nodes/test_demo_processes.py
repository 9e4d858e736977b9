"""Programs of the demo: whatever they do, none of them is left."""
from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vr_ros.nodes.demo.processes import Processes

QUICK = ((signal.SIGINT, 1.0), (signal.SIGTERM, 1.0), (signal.SIGKILL, 10.0))
# On a busy machine an answer takes its time; who ignores a signal is given little.
PATIENT = 30.0
READY = 'print("ready", flush=True); time.sleep(1000)'
IGNORE = 'signal.signal(signal.{0}, signal.SIG_IGN);'
SAY = 'signal.signal(signal.{0}, lambda *_: (print("{0}", flush=True), sys.exit()));'


def program(*statements: str) -> list[str]:
    return [sys.executable, '-c', 'import os, signal, subprocess, sys, time;' + ''.join(statements)]


def until(condition: Callable[[], bool]) -> None:
    end_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_at
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(('statements', 'patience_s', 'said'), [
    ((SAY.format('SIGINT'),), (PATIENT, 1.0), 'SIGINT'),                              # when asked
    ((IGNORE.format('SIGINT'), SAY.format('SIGTERM')), (1.0, PATIENT), 'SIGTERM'),    # when told
    ((IGNORE.format('SIGINT'), IGNORE.format('SIGTERM')), (1.0, 1.0), 'ready'),       # when killed
])
def test_ever_stronger_signals_end_it(
        tmp_path: Path, statements: tuple[str, ...], patience_s: tuple[float, float],
        said: str) -> None:
    signals = zip((signal.SIGINT, signal.SIGTERM, signal.SIGKILL), (*patience_s, 10.0), strict=True)
    with Processes(tmp_path, tuple(signals)) as processes:
        processes.start('it', program(*statements, READY))
        until(lambda: processes.last_words('it') == 'ready')
        pid = processes._running['it'].pid
        assert processes.ended() == {}
    assert not is_running(pid)
    assert (tmp_path / 'it.log').read_text().split()[-1] == said


def test_what_a_dead_leader_left_behind_is_ended(tmp_path: Path) -> None:
    child = 'import time; time.sleep(1000)'
    with Processes(tmp_path, QUICK) as processes:
        processes.start('it', program(
            f'print(subprocess.Popen([sys.executable, "-c", "{child}"]).pid, flush=True)'))
        until(lambda: processes.ended() == {'it': 0})
        orphan = int(processes.last_words('it'))
        assert is_running(orphan)
    until(lambda: not is_running(orphan))


def test_an_exception_ends_them_too(tmp_path: Path) -> None:
    processes = Processes(tmp_path, QUICK)
    with pytest.raises(KeyboardInterrupt), processes:
        processes.start('it', program(READY))
        pid = processes._running['it'].pid
        raise KeyboardInterrupt
    assert not is_running(pid)


def test_ctrl_c_during_the_end_does_not_cut_it_short(tmp_path: Path) -> None:
    other_thread = threading.Event()
    threading.Thread(target=other_thread.wait, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        with Processes(tmp_path, QUICK) as processes:
            processes.start('it', program(
                'signal.signal(signal.SIGINT, lambda *_: os.kill(os.getppid(), signal.SIGINT));',
                IGNORE.format('SIGTERM'), READY))
            until(lambda: processes.last_words('it') == 'ready')
            pid = processes._running['it'].pid
    other_thread.set()
    assert not is_running(pid)


def test_they_end_with_a_demo_that_is_killed(tmp_path: Path) -> None:
    code = ('import signal, sys, time; from pathlib import Path;'
            'from vr_ros.nodes.demo.processes import Processes;'
            'p = Processes(Path(sys.argv[1])); p.start("it", sys.argv[2:]);'
            'print(p._running["it"].pid, flush=True); time.sleep(1000)')
    demo = subprocess.Popen([sys.executable, '-c', code, str(tmp_path), *program(READY)],
                            stdout=subprocess.PIPE, text=True)
    try:
        pid = int(demo.stdout.readline())
        until(lambda: 'ready' in (tmp_path / 'it.log').read_text())
        assert is_running(pid)
    finally:
        demo.kill()
        demo.communicate()
    until(lambda: not is_running(pid))


def test_how_a_program_ended_is_known(tmp_path: Path) -> None:
    with Processes(tmp_path, QUICK) as processes:
        processes.start('bad', program('print("first\\nlast words"); sys.exit(3)'))
        processes.start('good', program(READY))
        until(lambda: bool(processes.ended()))
        assert processes.ended() == {'bad': 3}
        assert processes.last_words('bad') == 'last words'


def test_a_node_is_started_by_its_module(tmp_path: Path) -> None:
    with Processes(tmp_path, QUICK) as processes:
        processes.start_node('record', 'vr_ros.nodes.bags.record', ['--nonsense'])
        until(lambda: bool(processes.ended()))
        assert processes.ended() == {'record': 2}
        assert '--nonsense' in processes.last_words('record')


def test_signals_of_this_process_are_as_before(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with Processes(tmp_path, QUICK) as processes:
        processes.start('it', program(READY))
    assert [signal.getsignal(number) for number in numbers] == before
