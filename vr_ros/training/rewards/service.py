"""Rewards over HTTP: ``python -m vr_ros.training.rewards.service``.

``GET /`` says that it is there and which verifiers it has; ``POST /judge`` takes
``{"rollouts": [{"response", "sample", "progress", "tokens", "truncated"}]}`` and gives
``{"outcomes": [...]}`` in the same order, a reward or the reason why there is none. What is wrong
with a request is an HTTP error with a reason in words; nothing is ever a reward of 0 for it.
Source: V-Triune, section 3.2 (verifier-level reward computation).

It listens on this machine alone unless it has a token, from the environment variable
VR_ROS_REWARD_TOKEN, that requests then have to bring.
"""
from __future__ import annotations

import argparse
import hmac
import ipaddress
import json
import os
import sys
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from vr_ros.training.rewards.pool import PoolError, PoolScorer
from vr_ros.training.rewards.registry import Registry
from vr_ros.training.rewards.scoring import Outcome
from vr_ros.training.rewards.verifier import Rollout
from vr_ros.training.rewards.wire import WireError, outcomes_to_json, rollouts_from_json

TOKEN_VARIABLE = 'VR_ROS_REWARD_TOKEN'
MOST_BYTES = 64 * 1024 * 1024
MOST_REQUESTS = 8
# A client that sends nothing for so long is left.
SILENCE_S = 10.0


class AnyScorer(Protocol):
    """What the service scores with: in this process, or a pool."""

    registry: Registry

    def score_all(self, rollouts: Sequence[Rollout]) -> list[Outcome]: ...


class RewardService(ThreadingHTTPServer):
    """The server; :meth:`serve_forever` runs it, and :meth:`shutdown` from another thread ends it.

    One request is scored at a time, since the pool has all the processes. Further ones wait their
    turn; beyond ``most_requests`` they are told to come again before their body is read.
    """

    daemon_threads = True
    # Left-over connections of an earlier process do not keep the port.
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], scorer: AnyScorer, *, token: str = '',
                 most_bytes: int = MOST_BYTES, most_requests: int = MOST_REQUESTS) -> None:
        """Listen.

        :param address: host and port; port 0 takes a free one, see ``server_address``.
        :param token: that requests have to bring; empty: none.
        :param most_bytes: of one request.
        :param most_requests: at a time.
        :raises ValueError: the host can be reached from elsewhere, and there is no token.
        :raises OSError: the port is taken.
        """
        if not token and not is_loopback(address[0]):
            raise ValueError(f'{address[0]} can be reached from elsewhere: set {TOKEN_VARIABLE}')
        super().__init__(address, _Handler)
        self.scorer = scorer
        self.token = token
        self.most_bytes = most_bytes
        self.scored = 0
        self.places = threading.BoundedSemaphore(most_requests)
        self._turn = threading.Lock()

    def judge(self, body: bytes) -> str:
        """Score a request.

        :raises WireError: it cannot be read.
        """
        rollouts = rollouts_from_json(body)
        with self._turn:
            outcomes = self.scorer.score_all(rollouts)
            self.scored += len(outcomes)
        return outcomes_to_json(outcomes)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that went away or fell silent; anything else is printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: RewardService
    timeout = SILENCE_S
    protocol_version = 'HTTP/1.1'
    server_version, sys_version = 'vr_ros_rewards', ''

    def do_GET(self) -> None:   # noqa: N802 (the name that http.server looks for)
        if self.path != '/':
            self._refuse(HTTPStatus.NOT_FOUND, 'there are GET / and POST /judge')
        elif self._is_allowed():
            self._send(HTTPStatus.OK, json.dumps({
                'status': 'ok', 'verifiers': self.server.scorer.registry.names,
                'scored': self.server.scored}))

    def do_POST(self) -> None:   # noqa: N802
        if self.path != '/judge':
            self._refuse(HTTPStatus.NOT_FOUND, 'there are GET / and POST /judge')
            return
        if not self._is_allowed():
            return
        if not self.server.places.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, 'too many requests: come again')
            return
        try:
            self._judge()
        finally:
            self.server.places.release()

    def _judge(self) -> None:
        body = self._body()
        if body is None:
            return
        try:
            answer = self.server.judge(body)
        except WireError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except Exception as error:   # said to the client, which is the one that has to know
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, repr(error))
        else:
            self._send(HTTPStatus.OK, answer)

    def _is_allowed(self) -> bool:
        given = self.headers.get('Authorization', '')
        wanted = f'Bearer {self.server.token}'
        if self.server.token and not hmac.compare_digest(given.encode(), wanted.encode()):
            self._refuse(HTTPStatus.UNAUTHORIZED, f'a token is needed: {TOKEN_VARIABLE}')
            return False
        return True

    def _body(self) -> bytes | None:
        """Read the body; refuse what is not JSON by its type, of unknown length, or too long."""
        if self.headers.get_content_type() != 'application/json':
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, 'a request is application/json')
            return None
        length = self.headers.get('Content-Length', '')
        if 'Transfer-Encoding' in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, 'a request says its Content-Length')
            return None
        if len(length) > 12 or int(length) > self.server.most_bytes:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                         f'a request has at most {self.server.most_bytes} bytes')
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self._refuse(HTTPStatus.BAD_REQUEST, 'the request was cut off')
            return None
        return body

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        # What is left of the request would be taken for the next one.
        self.close_connection = True
        self._send(status, json.dumps({'error': reason}))

    def _send(self, status: HTTPStatus, content: str) -> None:
        data = content.encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        if self.close_connection:
            self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:   # noqa: A002
        """Say nothing: a line per request would drown what the trainer says."""


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone, by its name or number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service until it is interrupted.

    :return: 0 ended, 2 it cannot run as it was asked to.
    """
    parser = argparse.ArgumentParser(
        prog='python -m vr_ros.training.rewards.service', description='Rewards over HTTP.')
    parser.add_argument('--host', default='127.0.0.1', help='default: this machine alone')
    parser.add_argument('--port', type=int, default=8009, help='0 takes a free one')
    parser.add_argument('--processes', type=int, default=2, help='that score')
    parser.add_argument('--timeout', type=float, default=120.0, help='seconds for one request')
    options = parser.parse_args(arguments)
    try:
        scorer = PoolScorer(options.processes, timeout_s=options.timeout)
    except (PoolError, ValueError) as error:
        print(f'rewards: {error}', file=sys.stderr)
        return 2
    with scorer:
        try:
            service = RewardService((options.host, options.port), scorer,
                                    token=os.environ.get(TOKEN_VARIABLE, ''))
        except (OSError, OverflowError, ValueError) as error:
            print(f'rewards: {error}', file=sys.stderr)
            return 2
        with service:
            host, port = service.server_address[:2]
            print(f'rewards: http://{host}:{port}', flush=True)
            try:
                service.serve_forever()
            except KeyboardInterrupt:
                return 0
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
