"""Ask reward services: with timeouts, several tries, and an error where there is no answer."""
from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from vr_ros.training.rewards.scoring import Outcome
from vr_ros.training.rewards.verifier import Rollout
from vr_ros.training.rewards.wire import (
    MOST_ROLLOUTS,
    WireError,
    outcomes_from_json,
    rollouts_to_json,
)

# An answer longer than this is none of a reward service.
MOST_ANSWER_BYTES = 64 * 1024 * 1024
WAIT_S = 0.2


class RewardServiceError(RuntimeError):
    """No service gave an answer; the message says what each said. Never a reward of 0."""


class ServiceScorer:
    """Score responses by reward services, in turn; the next one is asked where one fails.

    Source: V-Triune, section 3.2. Its released client makes every error a reward of 0; here it is
    an error.
    """

    def __init__(self, addresses: Sequence[str], *, token: str = '', timeout_s: float = 150.0,
                 tries: int = 3) -> None:
        """Set the services; nothing is asked yet.

        :param addresses: as in http://127.0.0.1:8009.
        :param timeout_s: for a connection, and for any silence while an answer is awaited; more
            than the service itself takes at most.
        :param tries: of one batch, over all services.
        :raises ValueError: there is no address, or one is none.
        """
        self._services = [_host_and_port(address) for address in addresses]
        if not self._services or tries < 1 or timeout_s <= 0:
            raise ValueError('at least one reward service, one try and some time are needed')
        self._token = token
        self._timeout_s = timeout_s
        self._tries = tries
        self._next = 0

    def health(self) -> list[str]:
        """Ask every service whether it is there.

        :return: what is wrong, one line per service; empty if all are there.
        """
        wrong = []
        for service in self._services:
            try:
                status, body = self._ask(service, 'GET', '/', None)
                if status != 200 or json.loads(body).get('status') != 'ok':
                    raise WireError(f'it says {status}')
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                wrong.append(f'{_name(service)}: {error!r}')
        return wrong

    def score_all(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Score responses in order; those that a service cannot score give a Failure each.

        :raises RewardServiceError: no service answered, or one refused the request.
        """
        outcomes: list[Outcome] = []
        for at in range(0, len(rollouts), MOST_ROLLOUTS):
            outcomes += self._score(rollouts[at:at + MOST_ROLLOUTS])
        return outcomes

    def _score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        body = rollouts_to_json(rollouts).encode()
        said = []
        for number in range(self._tries):
            if number:
                time.sleep(WAIT_S)
            service = self._services[self._next % len(self._services)]
            self._next += 1
            try:
                status, answer = self._ask(service, 'POST', '/judge', body)
            except (OSError, http.client.HTTPException) as error:
                said.append(f'{_name(service)}: {error!r}')
                continue
            if status == 200:
                try:
                    return outcomes_from_json(answer, len(rollouts))
                except WireError as error:
                    raise RewardServiceError(f'{_name(service)}: {error}') from error
            said.append(f'{_name(service)}: {status} {answer[:200].decode(errors="replace")}')
            if status < 500:
                break   # it would be refused again
        raise RewardServiceError(f'no rewards for {len(rollouts)} responses: {"; ".join(said)}')

    def _ask(self, service: tuple[str, int], method: str, path: str, body: bytes | None
             ) -> tuple[int, bytes]:
        headers = {'Content-Type': 'application/json'}
        if self._token:
            headers['Authorization'] = f'Bearer {self._token}'
        connection = http.client.HTTPConnection(*service, timeout=self._timeout_s)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read(MOST_ANSWER_BYTES + 1)
            if len(answer) > MOST_ANSWER_BYTES:
                raise http.client.HTTPException('an answer without end')
            return response.status, answer
        finally:
            connection.close()


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != 'http' or not parts.hostname or port is None or parts.path not in ('', '/'):
        raise ValueError(f'a reward service is http://HOST:PORT, not {address!r}')
    return parts.hostname, port


def _name(service: tuple[str, int]) -> str:
    return f'{service[0]}:{service[1]}'
