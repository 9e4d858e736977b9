"""Find a checkpoint's files, and make sure that they are whole and the ones that were meant."""
from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vr_ros.core.types import PerceptionError, Status
from vr_ros.models.card import WeightsCard

_log = logging.getLogger(__name__)

# What a checkpoint is made of here: no pickles, no code.
HUB_PATTERNS = ('*.safetensors', '*.json', '*.jinja', '*.txt')
HASH_BLOCK_BYTES = 1 << 22
HASH_THREADS = 4


def resolve_weights(weights: WeightsCard, offline: bool | None = None) -> Path:
    """Give the local directory of a checkpoint, downloaded if need be, and checked.

    Files of the hub are recorded (revision and SHA-256) when they are first used, in
    ``$XDG_CACHE_HOME/vr_ros/weights.json``; from then on the same files are wanted again.

    :param offline: do not ask the network; None: download only if ``HF_HUB_OFFLINE=0`` says so, for
        weights of many gigabytes are not fetched unasked.
    :return: a directory with config.json and whole safetensors files.
    :raises PerceptionError: MODEL_UNAVAILABLE when they are missing, damaged or others than before.
    """
    if weights.path is not None:
        directory = weights.path
        if not directory.is_dir():
            raise _unavailable(
                f'no weights at {directory}: train or copy them there, or correct the card'
            )
        check_digests(weights.sha256, check_files(directory))
        return directory
    record = WeightsRecord()
    known = record.find(weights)
    revision = weights.revision or known.get('revision', '')
    if not revision:
        _log.warning('the card gives no revision of %s: the one that is used now is recorded and '
                     'expected from now on', weights.hub)
    directory = _download(weights.hub, revision, offline)
    files = check_files(directory)
    digests = record.digests(weights, directory.name, files)
    _compare(weights.sha256, digests, directory)
    return directory


def check_files(directory: Path) -> list[Path]:
    """Check that a checkpoint is complete and its safetensors files whole; tensors are not read.

    :return: its safetensors files.
    :raises PerceptionError: MODEL_UNAVAILABLE, naming the file.
    """
    from safetensors import SafetensorError, safe_open

    _read_json(directory / 'config.json')
    files = sorted(directory.glob('*.safetensors'))
    if not files:
        raise _unavailable(f'{directory} holds no *.safetensors; other formats are not loaded')
    index = directory / 'model.safetensors.index.json'
    if index.is_file():
        shards = set(_read_json(index).get('weight_map', {}).values())
        lacking = sorted(shards - {path.name for path in files})
        if lacking:
            raise _unavailable(
                f'{directory} lacks {lacking[0]} ({len(lacking)} of {len(shards)} files): '
                'fetch it again'
            )
    for path in files:
        try:
            with safe_open(path, framework='np'):
                pass
        except (OSError, SafetensorError) as error:
            raise _unavailable(
                f'{path} is damaged ({error}): delete it and fetch it again'
            ) from error
    return files


def check_loaded(report: Mapping[str, Iterable[object]], directory: Path) -> None:
    """Refuse a checkpoint that left parts of the model at random values.

    :param report: what ``from_pretrained(…, output_loading_info=True)`` returns beside the model.
    :raises PerceptionError: MODEL_UNAVAILABLE, naming a tensor.
    """
    for kind, problem in (('missing_keys', 'lacks'), ('mismatched_keys', 'has other shapes for')):
        names = [name[0] if isinstance(name, tuple) else name for name in report.get(kind, ())]
        if names:
            raise _unavailable(
                f'{directory} {problem} {len(names)} tensors, such as {min(map(str, names))}: '
                'it is not a checkpoint of this model'
            )


class WeightsRecord:
    """Which files were used under a name of the hub, kept in the user's cache.

    :param path: the JSON file; None is ``$XDG_CACHE_HOME/vr_ros/weights.json``.
    :raises PerceptionError: MODEL_UNAVAILABLE when the file is unreadable.
    """

    def __init__(self, path: Path | None = None) -> None:
        cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
        self.path = path or cache / 'vr_ros' / 'weights.json'
        self._entries: dict[str, dict] = _read_json(self.path) if self.path.exists() else {}

    def find(self, weights: WeightsCard) -> dict:
        """:return: 'revision' and 'files' of an earlier use, or nothing."""
        return self._entries.get(str(weights), {})

    def digests(self, weights: WeightsCard, revision: str, files: list[Path]) -> dict[str, str]:
        """Compare files with the record, or record them the first time.

        A file of the recorded size and modification time is not read again: 16 GB take a while.

        :param revision: the commit that the files are of.
        :return: SHA-256 by file name.
        :raises PerceptionError: MODEL_UNAVAILABLE when a file is not the recorded one.
        """
        known: dict[str, dict] = self.find(weights).get('files', {})
        changed = [path for path in files if not _is_unchanged(path, known.get(path.name))]
        with ThreadPoolExecutor(HASH_THREADS) as pool:
            fresh = dict(zip(changed, pool.map(_sha256, changed), strict=True))
        digests = {path.name: fresh.get(path) or known[path.name]['sha256'] for path in files}
        if known:
            wanted = {name: entry['sha256'] for name, entry in known.items()}
            _compare(wanted, digests, files[0].parent,
                     f'recorded in {self.path}; remove "{weights}" there if the change is wanted')
        if changed:
            entries = {p.name: {'sha256': digests[p.name], **_fingerprint(p)} for p in files}
            self._entries[str(weights)] = {'revision': revision, 'files': entries}
            self._write()
        return digests

    def _write(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile('w', dir=self.path.parent, delete=False) as file:
                json.dump(self._entries, file, indent=1, sort_keys=True)
            os.replace(file.name, self.path)
        except OSError as error:
            _log.warning('the weights in use cannot be recorded in %s: %s', self.path, error)


def _download(hub: str, revision: str, offline: bool | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError

    local = os.environ.get('HF_HUB_OFFLINE') != '0' if offline is None else offline
    name = hub + (f'@{revision}' if revision else '')
    try:
        return Path(snapshot_download(
            hub, revision=revision or None, allow_patterns=list(HUB_PATTERNS),
            local_files_only=local,
        ))
    except HFValidationError as error:
        raise _unavailable(f'"{hub}" is no repository id of the hub: {error}') from error
    except GatedRepoError as error:
        raise _unavailable(
            f'{name} asks for an account: accept its licence on the hub and set HF_TOKEN'
        ) from error
    except LocalEntryNotFoundError as error:
        fetch = f'hf download {hub}' + (f' --revision {revision}' if revision else '')
        raise _unavailable(
            f'{name} is not on this machine: run "{fetch}", or set HF_HUB_OFFLINE=0 and it is '
            'fetched when it is needed'
        ) from error
    except Exception as error:  # the client also lets its HTTP library's own errors through
        raise _unavailable(f'{name} cannot be fetched: {" ".join(str(error).split())}') from error


def check_digests(wanted: Mapping[str, str], files: Sequence[Path]) -> None:
    """Check files of one directory against the digests that a card gives; others are not read.

    :param wanted: SHA-256 in hex by file name.
    :raises PerceptionError: MODEL_UNAVAILABLE with the file that is another one, or missing.
    """
    if wanted:
        found = {path.name: _sha256(path) for path in files if path.name in wanted}
        _compare(wanted, found, files[0].parent)


def _compare(
    wanted: Mapping[str, str], found: Mapping[str, str], directory: Path,
    source: str = 'given in the card',
) -> None:
    for name, digest in wanted.items():
        if found.get(name) != digest:
            raise _unavailable(
                f'{directory / name} is not the expected file: SHA-256 '
                f'{found.get(name, "missing")[:12]}…, expected {digest[:12]}… ({source})'
            )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _fingerprint(path: Path) -> dict[str, int]:
    status = path.stat()
    return {'size': status.st_size, 'mtime_ns': status.st_mtime_ns}


def _is_unchanged(path: Path, entry: Mapping[str, object] | None) -> bool:
    return entry is not None and _fingerprint(path).items() <= entry.items()


def _read_json(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise _unavailable(f'{path} is missing') from error
    except (OSError, ValueError) as error:
        raise _unavailable(f'{path} is damaged ({error}): delete it') from error
    if not isinstance(values, dict):
        raise _unavailable(f'{path} is damaged (no JSON object): delete it')
    return values


def _unavailable(message: str) -> PerceptionError:
    return PerceptionError(Status.MODEL_UNAVAILABLE, message)
