"""Rewards from other processes and over HTTP, on this machine's loopback."""
from __future__ import annotations

import http.client
import json
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from slow_verifiers import make_registry, make_registry_and_end, make_registry_here_only

from vr_ros.training.rewards.client import RewardServiceError, ServiceScorer
from vr_ros.training.rewards.pool import CHUNK, PoolError, PoolScorer
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.scoring import Failure, Reward, Scorer
from vr_ros.training.rewards.service import RewardService, is_loopback
from vr_ros.training.rewards.verifier import Rollout
from vr_ros.training.rewards.wire import (
    WireError,
    outcomes_from_json,
    outcomes_to_json,
    rollouts_from_json,
    rollouts_to_json,
)

EXACT = Sample('exact', 'red', 'vqa', '4')
COUNT = Sample('counting', '3', 'count', '7', {'partial': 0.25})
ROLLOUTS = [
    Rollout('<think>a</think><answer>red</answer>', EXACT, 0.5, 12, True),
    Rollout('<answer>2</answer>', COUNT),
    Rollout('é\x00\ud83d <answer>', COUNT, tokens=3),
    Rollout('', Sample('detection', 'x', 'coco', '9')),
]


@pytest.fixture
def service() -> Iterator[RewardService]:
    with running() as server:
        yield server


class running:   # noqa: N801 (reads as a phrase)
    """A service in a thread, ended at the end of the block."""

    def __init__(self, scorer=None, **options) -> None:
        self._server = RewardService(('127.0.0.1', 0), scorer or Scorer(), **options)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> RewardService:
        self._thread.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def address(server: RewardService) -> str:
    return f'http://127.0.0.1:{server.server_address[1]}'


def ask(server: RewardService, method: str, path: str, body: bytes | None = None,
        **headers: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection('127.0.0.1', server.server_address[1], timeout=20)
    try:
        given = {'Content-Type': 'application/json'} | {
            name.replace('_', '-'): value for name, value in headers.items()}
        connection.request(method, path, body, given)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_over_http_the_rewards_are_the_same(service: RewardService) -> None:
    here = Scorer().score_all(ROLLOUTS)
    there = ServiceScorer([address(service)]).score_all(ROLLOUTS)
    assert there == here
    assert [type(outcome) for outcome in there] == [Reward, Reward, Reward, Failure]
    assert there[1].accuracy == pytest.approx(0.25 * 2 / 3)
    assert ServiceScorer([address(service)]).score_all([]) == []


def test_health(service: RewardService) -> None:
    status, said = ask(service, 'GET', '/')
    assert status == 200 and said['status'] == 'ok' and 'visionreasoner' in said['verifiers']
    ServiceScorer([address(service)]).score_all(ROLLOUTS)
    assert ask(service, 'GET', '/')[1]['scored'] == 4
    wrong = ServiceScorer([address(service), 'http://127.0.0.1:1'], timeout_s=5).health()
    assert len(wrong) == 1 and '127.0.0.1:1' in wrong[0]


GOOD = rollouts_to_json(ROLLOUTS[:1]).encode()


@pytest.mark.parametrize(('method', 'path', 'body', 'headers', 'status', 'reason'), [
    ('POST', '/judge', b'{', {}, 400, 'no JSON'),
    ('POST', '/judge', pickle.dumps({'rollouts': []}), {}, 400, 'no JSON'),
    ('POST', '/judge', b'[]', {}, 400, 'no JSON object'),
    ('POST', '/judge', b'[' * 200_000, {}, 400, 'no JSON'),
    ('POST', '/judge', b'{"rollouts": 5}', {}, 400, 'a request is'),
    ('POST', '/judge', b'{"rollouts": [], "x": 1}', {}, 400, 'a request is'),
    ('POST', '/judge', b'{"rollouts": [{"sample": {}}]}', {}, 400, 'rollout 0 has no response'),
    ('POST', '/judge', b'{"rollouts": [{"response": "", "sample": {}}]}', {}, 400,
     'rollout 0: a sample without "verifier"'),
    ('POST', '/judge', GOOD.replace(b'12', b'"12"'), {}, 400, "tokens is '12'"),
    ('POST', '/judge', GOOD.replace(b'true', b'1'), {}, 400, 'truncated is 1'),
    ('POST', '/judge', GOOD.replace(b'"tokens"', b'"token"'), {}, 400, 'has no "token"'),
    ('POST', '/judge', GOOD, {'Content_Type': 'application/octet-stream'}, 415,
     'application/json'),
    ('POST', '/judge', GOOD, {'Content_Length': '99999999999'}, 413, 'at most'),
    ('POST', '/judge', GOOD, {'Content_Length': '9' * 40}, 413, 'at most'),
    ('POST', '/judge', None, {'Content_Length': 'many'}, 411, 'Content-Length'),
    ('POST', '/judge', None, {'Content_Length': '-1'}, 411, 'Content-Length'),
    ('POST', '/judge', None, {'Transfer_Encoding': 'chunked'}, 411, 'Content-Length'),
    ('POST', '/judge', b'{}', {'Transfer_Encoding': 'chunked', 'Content_Length': '2'}, 411,
     'Content-Length'),
    ('POST', '/other', GOOD, {}, 404, 'POST /judge'),
    ('GET', '/judge', None, {}, 404, 'GET /'),
])
def test_wrong_requests_are_refused_in_words(
        service: RewardService, method, path, body, headers, status, reason) -> None:
    found, said = ask(service, method, path, body, **headers)
    assert (found, reason in said['error']) == (status, True), said
    assert ServiceScorer([address(service)]).score_all(ROLLOUTS[:1])[0].final == 1   # it goes on


def test_requests_have_a_largest_size() -> None:
    with running(most_bytes=len(GOOD)) as server:
        assert ask(server, 'POST', '/judge', GOOD)[0] == 200
        assert ask(server, 'POST', '/judge', GOOD + b' ')[0] == 413


def test_a_client_that_leaves_in_the_middle_takes_nothing_with_it(service: RewardService) -> None:
    for text in (b'POST /judge HTTP/1.1\r\nContent-Type: application/json\r\n'
                 b'Content-Length: 100\r\n\r\n{', b'GET', b'\x16\x03\x01\x00', b''):
        with socket.create_connection(service.server_address[:2], timeout=20) as connection:
            connection.sendall(text)
    assert ServiceScorer([address(service)]).score_all(ROLLOUTS[:1])[0].final == 1


def test_a_token_is_asked_for() -> None:
    with running(token='s3cret') as server:
        assert ask(server, 'POST', '/judge', GOOD)[0] == 401
        assert ask(server, 'GET', '/')[0] == 401
        assert ask(server, 'POST', '/judge', GOOD, Authorization='Bearer s3cre')[0] == 401
        assert ask(server, 'POST', '/judge', GOOD, Authorization='Bearer s3cret')[0] == 200
        assert ServiceScorer([address(server)], token='s3cret').health() == []
        with pytest.raises(RewardServiceError, match='401 .*a token is needed') as caught:
            ServiceScorer([address(server)]).score_all(ROLLOUTS)
        assert str(caught.value).count('401') == 1   # asking again would not help


@pytest.mark.parametrize(('host', 'is_one'), [
    ('127.0.0.1', True), ('127.9.9.9', True), ('::1', True), ('localhost', True),
    ('0.0.0.0', False), ('', False), ('10.0.0.1', False), ('localhost.example', False),
])
def test_loopback(host, is_one) -> None:
    assert is_loopback(host) == is_one


def test_without_a_token_it_listens_on_this_machine_alone() -> None:
    with pytest.raises(ValueError, match='VR_ROS_REWARD_TOKEN'):
        RewardService(('0.0.0.0', 0), Scorer())


class Held:
    """A scorer that waits until it may go on."""

    registry = Scorer().registry

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def score_all(self, rollouts):
        self.begun.set()
        assert self.may_end.wait(20)
        return Scorer().score_all(rollouts)


def test_too_many_requests_are_told_to_come_again() -> None:
    held = Held()
    with running(held, most_requests=1) as server:
        first: list[tuple[int, dict]] = []
        thread = threading.Thread(target=lambda: first.append(ask(server, 'POST', '/judge', GOOD)))
        thread.start()
        assert held.begun.wait(20)
        status, said = ask(server, 'POST', '/judge', GOOD)
        assert (status, said['error']) == (503, 'too many requests: come again')
        assert ask(server, 'GET', '/')[0] == 200
        held.may_end.set()
        thread.join()
        assert first[0][0] == 200


def test_the_next_service_is_asked_where_one_is_not_there(service: RewardService) -> None:
    scorer = ServiceScorer(['http://127.0.0.1:1', address(service)], timeout_s=5)
    assert scorer.score_all(ROLLOUTS[:1])[0].final == 1
    with pytest.raises(RewardServiceError, match='no rewards for 1 responses: 127.0.0.1:1'):
        ServiceScorer(['http://127.0.0.1:1'], tries=2, timeout_s=5).score_all(ROLLOUTS[:1])


def test_a_service_that_falls_silent_is_an_error() -> None:
    with socket.create_server(('127.0.0.1', 0)) as silent:
        scorer = ServiceScorer([f'http://127.0.0.1:{silent.getsockname()[1]}'], timeout_s=0.1)
        with pytest.raises(RewardServiceError, match='timed out'):
            scorer.score_all(ROLLOUTS[:1])


class Broken:
    registry = Scorer().registry

    def score_all(self, rollouts):
        raise MemoryError('no memory')


def test_a_scorer_that_fails_is_an_error() -> None:
    with running(Broken()) as server, pytest.raises(RewardServiceError, match='500 .*no memory'):
        ServiceScorer([address(server)]).score_all(ROLLOUTS[:1])


@pytest.mark.parametrize('addresses', [
    [], ['127.0.0.1:8009'], ['https://127.0.0.1:8009'], ['http://127.0.0.1'], ['http://:80'],
    ['http://a:99999'], ['http://127.0.0.1:80/judge'],
])
def test_wrong_addresses_are_refused(addresses) -> None:
    with pytest.raises(ValueError, match='reward service'):
        ServiceScorer(addresses)


# On the wire.

def test_rollouts_and_outcomes_survive_the_wire() -> None:
    assert rollouts_from_json(rollouts_to_json(ROLLOUTS)) == ROLLOUTS
    outcomes = Scorer().score_all(ROLLOUTS)
    assert outcomes_from_json(outcomes_to_json(outcomes), len(outcomes)) == outcomes
    text = json.dumps({'rollouts': [{'response': 'a', 'sample': EXACT.to_json()}]})
    assert rollouts_from_json(text) == [Rollout('a', EXACT)]   # a sample that is a text


@pytest.mark.parametrize('text', [
    '', '5', '{}', '{"outcomes": []}', '{"outcomes": [5]}', '{"outcomes": [{}]}',
    '{"outcomes": [{"reason": "x"}]}',
    '{"outcomes": [{"final": 2, "accuracy": 0, "format": 0, "is_correct": true, "verifier": "",'
    ' "data_source": "", "id": "", "parts": {}}]}',
    '{"outcomes": [{"final": NaN, "accuracy": 0, "format": 0, "is_correct": true, "verifier": "",'
    ' "data_source": "", "id": "", "parts": {}}]}',
])
def test_an_answer_that_is_none_is_an_error(text) -> None:
    with pytest.raises(WireError):
        outcomes_from_json(text, 1)


# In processes of their own.

def test_a_pool_scores_and_loses_only_what_hangs() -> None:
    """One that never ends, and one that ends its process: named, and the rest is scored."""
    fine = ROLLOUTS[:1] * CHUNK
    with PoolScorer(2, timeout_s=100, make_registry=make_registry) as pool:
        assert pool.score_all(ROLLOUTS * CHUNK) == Scorer().score_all(ROLLOUTS * CHUNK)
        pool.timeout_s = 3.0   # the processes are there: nothing takes long now
        outcomes = pool.score_all([
            *fine, Rollout('', Sample('sleepy', '', id='s')), *ROLLOUTS[:1] * (CHUNK - 1),
            *fine, Rollout('', Sample('deadly', '', id='d')), *ROLLOUTS[:1] * (CHUNK - 1)])
        failed = [type(outcome) is Failure for outcome in outcomes]
        assert failed == ([False] * CHUNK + [True] * CHUNK) * 2
        assert outcomes[CHUNK].reason == "sample 's': not scored within 3 s"
        pool.timeout_s = 100.0
        assert pool.score_all(fine)[0].final == 1


@pytest.mark.parametrize('options', [{'processes': 0}, {'timeout_s': 0}])
def test_a_pool_of_nothing_is_refused(options) -> None:
    with pytest.raises(ValueError, match='a pool has'):
        PoolScorer(**options)


@pytest.mark.parametrize(('make', 'message'), [
    (make_registry_here_only, r"make_registry failed there: OSError\('no weights here'\)"),
    (make_registry_and_end, 'it ended with status 3'),
    (lambda: make_registry(), 'no function at the top level of a module'),
])
def test_a_pool_that_cannot_begin_says_so(make, message) -> None:
    with pytest.raises(PoolError, match=f'^the processes of a PoolScorer cannot begin: .*{message}'
                       ):
        PoolScorer(2, make_registry=make)


def test_a_program_without_the_guard_is_told_so_once(tmp_path) -> None:
    program = tmp_path / 'program.py'
    program.write_text('from vr_ros.training.rewards.pool import PoolScorer\n'
                       'print("begun")\nPoolScorer(2)\nprint("never")\n')
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=100,
                          check=False)
    assert done.returncode == 1
    assert done.stdout.split() == ['begun'] * 2   # here, and in the one process of the trial
    assert done.stderr.count('Traceback') == 1
    assert "below `if __name__ == '__main__':`" in done.stderr.splitlines()[-1]


def test_the_program_serves_and_ends() -> None:
    program = subprocess.Popen(
        [sys.executable, '-m', 'vr_ros.training.rewards.service', '--port', '0', '--processes',
         '1'], stdout=subprocess.PIPE, text=True)
    try:
        said = program.stdout.readline().split()
        assert said[0] == 'rewards:'
        scorer = ServiceScorer([said[1]], timeout_s=60)
        assert scorer.health() == []
        assert scorer.score_all(ROLLOUTS) == Scorer().score_all(ROLLOUTS)
    finally:
        program.send_signal(2)
        assert program.wait(30) == 0
        program.stdout.close()


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--host', '0.0.0.0'], 'VR_ROS_REWARD_TOKEN'), (['--processes', '0'], 'at least 1 process'),
    (['--port', '99999'], 'port'),
])
def test_the_program_refuses_in_one_line(arguments, message, capfd) -> None:
    from vr_ros.training.rewards import service as program
    assert program.main(['--processes', '1', *arguments]) == 2
    said = capfd.readouterr().err
    assert message in said and said.count('\n') == 1
