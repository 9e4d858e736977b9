"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO as their authors give them away: expressions by JSON.

``grefs(unc).json`` or ``refs(unc).json`` lies beside ``instances.json`` of COCO. The originals of
the first three are pickles, which are not read: reading one can run whatever is in it.
"""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vr_ros.core.types import Task
from vr_ros.datasets.coco import truth_of
from vr_ros.datasets.sample import (
    DataSetError,
    Sample,
    SampleError,
    digest,
    read_image_in,
    read_json,
    require_unique,
    size_of,
)

_REFS = re.compile(r'g?refs\(\w+\)\.(json|p|pickle|pkl)')
_FOLDERS = ('', 'images', 'train2014', 'images/train2014', 'images/mscoco/images/train2014')


def find_refs(path: Path) -> list[Path]:
    """Find files of expressions: the path itself, or in the folder that it is."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if _REFS.fullmatch(file.name)]


class Refer:
    """One sample per sentence; ids are REF/SENTENCE. Sentences for no object are there, too.

    ``numbers`` tells of each sample, without its image, how many objects are asked for.

    :param path: of the file of expressions, or of its folder.
    :param split: train, val, testA …; empty: the only one.
    :param first_only: take the first sentence of each object alone.
    :param joined: one sample per image, ``'a' and 'b'``, for all that is asked for there; ids are
        the image's then. With first_only this is what VisionReasoner is trained on.
    :raises DataSetError: if the file is a pickle or no such file, or has no such part.
    """

    figure = 'gIoU'

    def __init__(
        self, path: Path, split: str = '', first_only: bool = False, joined: bool = False,
    ) -> None:
        files = find_refs(path)
        readable = [file for file in files if file.suffix == '.json']
        if len(readable) != 1:
            raise DataSetError(_why(path, files, readable))
        refs, folder = readable[0], readable[0].parent
        parts = []
        try:
            for file in (refs, folder / 'instances.json'):
                parts.append(file.read_bytes())
            self._read(read_json(parts[0]), read_json(parts[1]), split, refs)
            self._group(first_only, joined)
        except (OSError, ValueError) as error:
            raise DataSetError(f'{refs}: {error}') from error
        except (KeyError, TypeError) as error:
            raise DataSetError(f'{refs}: no expressions beside COCO instances:'
                               f' {type(error).__name__} {error}') from error
        self._folders = [base / name for base in (folder, folder.parent) for name in _FOLDERS]
        self.name = f'{folder.resolve().name}/{refs.name} {split} {digest(*parts)}'.replace(
            '  ', ' ')
        require_unique(self.ids, refs)

    def _read(
        self, refs: Sequence[Mapping[str, Any]], instances: Mapping[str, Any], split: str,
        where: Path,
    ) -> None:
        splits = sorted({str(ref['split']) for ref in refs})
        if split not in splits and (split or len(splits) != 1):
            raise DataSetError(f'{where}: --split is one of {", ".join(splits)}')
        self._refs = [ref for ref in refs if ref['split'] == (split or splits[0])]
        self._images = {image['id']: image for image in instances['images']}
        self._annotations = {item['id']: item for item in instances['annotations']}

    def _group(self, first_only: bool, joined: bool) -> None:
        groups: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
        pairs = [(ref, sentence) for ref in self._refs
                 for sentence in ref['sentences'][:1 if first_only else None]]
        for number, (ref, sentence) in enumerate(pairs):
            key = str(ref['image_id']) if joined else str(number)
            groups.setdefault(key, []).append((ref, sentence))
        self._groups, self._is_joined = list(groups.values()), joined
        self.ids = tuple(groups) if joined else tuple(
            f'{ref["ref_id"]}/{sentence["sent_id"]}' for ref, sentence in pairs)
        self.numbers = tuple(len({number for ref, _ in group for number in _annotation_ids(ref)})
                             for group in self._groups)

    def load(self, place: int) -> Sample:
        """Read one sample.

        :raises SampleError: if its image or an annotation cannot be used.
        """
        group = self._groups[place]
        try:
            image = self._images[group[0][0]['image_id']]
            name = str(image['file_name'])
            texts = [sentence.get('sent') or sentence['raw'] for _, sentence in group]
            ids = dict.fromkeys(number for ref, _ in group for number in _annotation_ids(ref))
            annotations = [self._annotations[number] for number in ids]
        except (KeyError, TypeError) as error:
            raise SampleError(f'broken expression: {type(error).__name__} {error}') from error
        for text in texts:
            if not isinstance(text, str):
                raise SampleError(f'the text is {text!r}')
        asked = ' and '.join(f"'{_bare(text)}'" for text in texts) if self._is_joined else texts[0]
        pixels = read_image_in(self._folders, name)
        try:
            truth = truth_of(size_of(pixels), image, '', annotations)
        except (KeyError, TypeError, ValueError) as error:
            raise SampleError(f'broken annotation: {type(error).__name__} {error}') from error
        return Sample(pixels, asked, truth, Task.SEGMENTATION,
                      '' if annotations else 'no object')


def _bare(text: str) -> str:
    """Take a sentence as a part of another one; source: VisionReasoner's data preparation."""
    return text.strip().strip('.?!').lower()


def _annotation_ids(ref: Mapping[str, Any]) -> list[Any]:
    """Give the objects of an expression; gRefCOCO says -1 where nothing there is what it says."""
    ids = ref.get('ann_id')
    ids = ids if isinstance(ids, list) else [ids]
    return [number for number in ids if number != -1]


def _why(path: Path, files: Sequence[Path], readable: Sequence[Path]) -> str:
    if len(readable) > 1:
        return f'{path}: name one of {", ".join(file.name for file in readable)}'
    if not files:
        return f'{path}: no grefs(unc).json, refs(unc).json or the like in it'
    name = files[0].name
    copy = f'{files[0].stem}.json'
    return (
        f'{files[0]}: is a pickle, which can run whatever is in it when it is read, and is not'
        ' read: take refcoco_val and its like, which VisionReasoner made of it, or, on a machine'
        ' that you would trust to it, write it as JSON: python -c "import json, pickle;'
        f" json.dump(pickle.load(open('{name}', 'rb')), open('{copy}', 'w'))\"")
