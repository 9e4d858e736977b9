"""A hub of data sets on this machine: the few answers of it that reading a table needs."""
from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = 'c0ffee00' * 5


class MiniHub(ThreadingHTTPServer):
    """Serves folders as data sets.

    :param sets: folder by owner/name@revision, the revision main or another branch.

    ``fetched`` is how many bytes of each file went out.
    """

    daemon_threads = True

    def __init__(self, sets: dict[str, Path]) -> None:
        super().__init__(('127.0.0.1', 0), _Answer)
        self.sets = sets
        self.fetched: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_port}'

    def find(self, name: str, revision: str) -> tuple[str, Path] | None:
        """:return: commit and folder of a data set."""
        for place, (key, folder) in enumerate(self.sets.items()):
            commit = f'{place:08d}{COMMIT[8:]}'
            own, _, branch = key.partition('@')
            if own == name and revision in (branch, commit):
                return commit, folder
        return None


@contextmanager
def serving(sets: dict[str, Path]) -> Iterator[MiniHub]:
    hub = MiniHub(sets)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Answer(BaseHTTPRequestHandler):
    server: MiniHub

    def log_message(self, *unused: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip('/').split('/')]
        if parts[:2] == ['api', 'datasets']:
            self._describe('/'.join(parts[2:4]), parts[4:])
        elif parts[0] == 'datasets' and parts[3] == 'resolve':
            self._send_file('/'.join(parts[1:3]), parts[4], '/'.join(parts[5:]))
        else:
            self._send(404, b'{}')

    do_HEAD = do_GET

    def _describe(self, name: str, rest: list[str]) -> None:
        found = self.server.find(name, rest[1] if len(rest) > 1 else 'main')
        if found is None:
            self._send(404, b'{}', ('x-error-code', 'RepoNotFound'))
            return
        commit, folder = found
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())
        if rest[:1] == ['tree']:
            under = '/'.join(rest[2:])
            self._send_json([_entry(folder, name) for name in names if name.startswith(under)])
        else:
            self._send_json({'id': name, 'sha': commit, 'private': False, 'tags': [],
                             'siblings': [{'rfilename': name} for name in names]})

    def _send_file(self, name: str, revision: str, path: str) -> None:
        found = self.server.find(name, revision)
        if found is None:
            self._send(404, b'{}', ('x-error-code', 'EntryNotFound'))
            return
        data = (found[1] / path).read_bytes()
        wanted = self.headers.get('range', f'bytes=0-{len(data) - 1}').removeprefix('bytes=')
        first, last = (int(number) for number in wanted.split('-'))
        part = data[first:last + 1]
        self.server.fetched[path] = self.server.fetched.get(path, 0) + len(part)
        self._send(206, part, ('content-range', f'bytes {first}-{last}/{len(data)}'))

    def _send_json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), ('content-type', 'application/json'))

    def _send(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header in (*headers, ('content-length', str(len(body)))):
            self.send_header(*header)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)


def _entry(folder: Path, name: str) -> dict[str, Any]:
    return {'type': 'file', 'path': name, 'oid': '0' * 40, 'size': (folder / name).stat().st_size}
