"""Tables straight from the hub: row groups are fetched when a row of theirs is asked for.

By ranges of the hub's Parquet files, not by the `datasets` package: its streams only go forward,
so that each process, and each run that goes on, would fetch all rows from the first one on.
"""
from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from vr_ros.datasets.parquet import ParquetFile, Table, missing_pyarrow
from vr_ros.datasets.sample import DataSetError, digest
from vr_ros.datasets.splits import pick_split

if TYPE_CHECKING:
    import pyarrow

# Where the hub keeps what is not stored as Parquet, converted by itself.
CONVERTED = 'refs/convert/parquet'
_NAME = re.compile(r'\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?')


def is_hub_name(name: str) -> bool:
    """Say whether a name looks like one of the hub's: owner/name, perhaps with @revision."""
    return bool(_NAME.fullmatch(name))


def is_online() -> bool:
    """Say whether the network may be asked: as for weights, only if HF_HUB_OFFLINE=0 says so."""
    return os.environ.get('HF_HUB_OFFLINE') == '0'


def cached_snapshot(name: str) -> Path | None:
    """Find what ``hf download`` without a folder has put into the hub's cache.

    :param name: owner/name, perhaps with @revision.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    hub_id, _, revision = name.partition('@')
    try:
        return Path(snapshot_download(
            hub_id, repo_type='dataset', revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None


def open_hub(name: str, split: str = '', default: str = '') -> Table:
    """Open a data set of the hub as a table.

    :param name: owner/name, perhaps with @ and a commit, branch or tag.
    :param split: see :func:`~vr_ros.datasets.splits.pick_split`; so is ``default``.
    :raises DataSetError: if the network may not be asked, or has no such set in Parquet.
    """
    hub_id, _, revision = name.partition('@')
    if not is_online():
        fetch = f'hf download {hub_id} --repo-type dataset --local-dir {Path(hub_id).name}' + (
            f' --revision {revision}' if revision else '')
        raise DataSetError(
            f'{name} is not on this machine: run "{fetch}", or set HF_HUB_OFFLINE=0 and its rows'
            ' are fetched when they are needed')
    try:
        return _open_online(hub_id, revision, split, default)
    except ModuleNotFoundError as error:
        raise missing_pyarrow(name, error) from error
    except DataSetError:
        raise
    except Exception as error:  # the client also lets its HTTP library's own errors through
        raise DataSetError(f'{name} cannot be opened on the hub: {_in_a_line(error)}') from error


class _RemoteFile(ParquetFile):
    def read(self, group: int) -> pyarrow.Table:
        """Read one group; whatever goes wrong on the way is an error of reading."""
        try:
            return super().read(group)
        except Exception as error:  # the client also lets its HTTP library's own errors through
            raise OSError(f'cannot be fetched: {_in_a_line(error)}') from error


def _open_online(hub_id: str, revision: str, split: str, default: str) -> Table:
    from huggingface_hub import HfApi, HfFileSystem

    api = HfApi()
    for branch in (revision or None, CONVERTED):
        info = api.dataset_info(hub_id, revision=branch)
        names = [file.rfilename for file in info.siblings or ()
                 if file.rfilename.endswith('.parquet')]
        if names:
            break
    else:
        raise DataSetError(
            f'{hub_id}: no Parquet files, neither its own nor those of the hub ({CONVERTED})')
    files = HfFileSystem()
    chosen = pick_split(names, split, default, hub_id)
    root = f'datasets/{hub_id}@{quote(str(info.sha), safe="")}'
    opened = [_RemoteFile(name, files.open(f'{root}/{name}', 'rb')) for name in chosen]
    return Table(opened, f'{hub_id}@{str(info.sha)[:12]} {digest(*chosen)}')


def _in_a_line(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
