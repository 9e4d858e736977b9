"""Joined instructions and those about what is not there: never about what might be there."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mini_sets
import numpy as np
import pytest
from PIL import Image

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Mask, Size, Task
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSetError, Sample, SampleError
from vr_ros.datasets.truth import Truth
from vr_ros.training.data.mixing import (
    About,
    Mix,
    Mixed,
    join,
    needs_survey,
    negative,
    survey,
)
from vr_ros.training.data.source import DataSetSource, Draft, Recipe, Source, drawn_order

SIZE = Size(40, 30)
IMAGE = np.zeros((30, 40, 3), np.uint8)
# What is annotated: boxes by image and label. Every mug of every image, and no spoon anywhere.
SCENES = {
    'a.png': {'mug': [[0, 0, 10, 10]], 'plate': [[20, 0, 30, 10], [20, 20, 30, 30]]},
    'b.png': {'fork': [[5, 5, 15, 15]]},
    'c.png': {'mug': [[1, 1, 9, 9]]},
}
LABELS = ('fork', 'mug', 'plate', 'spoon')


class Kitchen:
    """A data set as the readers of vr_ros.datasets are."""

    name = 'kitchen 1a2b'
    labels = frozenset(LABELS)

    def __init__(self) -> None:
        self._all = [(image, label) for image, things in SCENES.items() for label in things]
        self.ids = tuple(f'{image}/{label}' for image, label in self._all)

    def load(self, place: int) -> Sample:
        image, label = self._all[place]
        truth = Truth(image, SIZE, label, boxes=SCENES[image][label])
        return Sample(IMAGE, f'find every {label}.', truth, Task.DETECTION)

    def labels_at(self, place: int) -> set[str]:
        return set(SCENES[self._all[place][0]])


def kitchen(is_exhaustive: bool = True, order: np.ndarray | None = None) -> DataSetSource:
    return DataSetSource(Kitchen(), Recipe('kitchen', is_exhaustive=is_exhaustive), order)


def mixed(tmp_path: Path, mix: Mix, source: Source | None = None, seed: int = 0) -> list[Draft]:
    source = source or kitchen()
    both = Mixed(source, mix, seed, survey(source, tmp_path / 'survey.jsonl'))
    return [draft for place in range(len(both)) for draft in both.load(place)]


def draft(name: str, boxes: list[list[int]], masks: tuple[Mask, ...] | None = None,
          task: Task = Task.DETECTION, points: list[list[int]] | None = None) -> Draft:
    return Draft(name, IMAGE, f'The {name}.', Truth('a.png', SIZE, boxes=boxes, masks=masks), task,
                 points=None if points is None else np.array(points, float))


def column_mask(first: int, last: int) -> Mask:
    pixels = np.zeros((30, 40), bool)
    pixels[:, first:last] = True
    return mask_to_rle(pixels)


def test_two_instructions_become_one() -> None:
    joined = join(draft('mug', [[0, 0, 9, 9]], points=[[4, 4]]),
                  draft('pot', [[9, 0, 20, 9], [0, 9, 9, 20]], points=[[12, 4], [3, 12]]))
    assert joined.problem == 'The mug and The pot' and joined.id == 'mug+pot'
    assert joined.truth.boxes.tolist() == [[0, 0, 9, 9], [9, 0, 20, 9], [0, 9, 9, 20]]
    assert joined.points.tolist() == [[4, 4], [12, 4], [3, 12]]
    assert joined.task is Task.DETECTION and joined.extra['joined'] == ['mug', 'pot']
    assert join(draft('mug', [[0, 0, 9, 9]]), draft('pot', []), is_quoted=True).problem == (
        "'The mug' and 'The pot'")


def test_what_both_mean_is_there_once() -> None:
    one = draft('mug', [[0, 0, 10, 30]], (column_mask(0, 10),))
    # Columns 0 to 9 and 1 to 9 have 9 of 10 in common, 2 to 9 only 8.
    other = draft('cup', [[1, 0, 10, 30], [2, 0, 10, 30]], (column_mask(1, 10), column_mask(2, 10)))
    assert join(one, other).truth.masks == (column_mask(0, 10), column_mask(2, 10))
    # Without masks boxes decide: 0.9 is not enough.
    assert len(join(draft('mug', [[0, 0, 10, 30]]), other).truth.boxes) == 3
    same = [[1, 0, 10, 30]]
    assert join(draft('mug', same), draft('cup', same)).truth.boxes.tolist() == same


def test_masks_and_points_are_kept_only_if_all_have_them() -> None:
    with_mask = draft('mug', [[0, 0, 10, 30]], (column_mask(0, 10),), Task.SEGMENTATION, [[5, 5]])
    joined = join(with_mask, draft('pot', [[20, 0, 30, 30]]))
    assert joined.truth.masks is None and joined.points is None
    assert joined.task is Task.DETECTION                        # the masks of one are not known
    assert join(with_mask, with_mask).task is Task.SEGMENTATION
    small = Draft('x', IMAGE[:10], 'x', Truth('a.png', boxes=[[0, 0, 5, 5]]), Task.DETECTION)
    with pytest.raises(SampleError, match='different sizes'):
        join(with_mask, small)


def test_joins_are_of_one_image_and_come_once(tmp_path: Path) -> None:
    added = [d for d in mixed(tmp_path, Mix(joins=1.0)) if '+' in d.id]
    assert [d.id for d in added] == ['a.png/mug+a.png/plate']
    assert added[0].problem == 'find every mug and find every plate'
    assert len(added[0].truth.boxes) == 3


def test_negatives_ask_for_what_is_annotated_nowhere_in_the_image(tmp_path: Path) -> None:
    found: dict[str, set[str]] = {}
    for seed in range(30):
        drafts = mixed(tmp_path, Mix(negatives=1.0), seed=seed)
        assert len(drafts) == 8                                 # one behind each of the four
        for one in (d for d in drafts if 'not' in d.id):
            assert one.truth.is_absent and one.problem == f'find every {one.truth.category}.'
            found.setdefault(one.truth.image, set()).add(one.truth.category)
    # Nobody ever asks for a spoon: there are no words for it.
    assert found == {'a.png': {'fork'}, 'b.png': {'mug', 'plate'}, 'c.png': {'fork', 'plate'}}


def test_part_of_a_set_knows_what_the_other_part_says_is_there(tmp_path: Path) -> None:
    # Only the mug of a.png and the plate of a.png's other row as words: the plate is there.
    source = kitchen(order=np.array([0, 1, 2]))
    drafts = mixed(tmp_path, Mix(negatives=1.0), source)
    about_a = {d.truth.category for d in drafts if d.truth.is_absent and d.truth.image == 'a.png'}
    assert about_a == {'fork'}


@pytest.mark.parametrize('write', [mini_sets.write_coco, mini_sets.write_yolo])
def test_what_own_sets_do_not_mark_is_not_there(
    tmp_path: Path, write: Callable[[Path], None],
) -> None:
    write(tmp_path / 'set')
    data_set = open_data_set(str(tmp_path / 'set'), 'val')
    source = DataSetSource(data_set, Recipe('mini', is_exhaustive=True))
    by_pixels = {frame.rgb.tobytes(): {thing.kind for thing in frame.truth.objects}
                 for frame in mini_sets.frames()}
    added = [d for d in mixed(tmp_path, Mix(negatives=1.0), source) if '-not-' in d.id]
    assert added
    for one in added:
        assert one.truth.category not in by_pixels[one.image.tobytes()]


def test_without_certainty_there_are_no_negatives(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match='objects may be unmarked'):
        mixed(tmp_path, Mix(negatives=1.0), kitchen(is_exhaustive=False))

    class Unknowing:
        name, identity = 'x', 'x'

        def __len__(self) -> int:
            return 0

        def load(self, place: int) -> list[Draft]:
            return []

    with pytest.raises(DataSetError, match='does not tell what is not in its images'):
        Mixed(Unknowing(), Mix(negatives=0.1), 0, [])
    Mixed(Unknowing(), Mix(joins=0.1), 0, [])
    with pytest.raises(DataSetError, match='are shares'):
        Mixed(kitchen(), Mix(joins=1.5), 0, [])


def test_a_negative_forgets_what_was_true() -> None:
    other = About(3, 0, 'z.png', 'where is the fork?', 'fork', True)
    made = negative(draft('mug', [[0, 0, 9, 9]], (column_mask(0, 9),), points=[[1, 1]]), other)
    assert made.truth.boxes.shape == (0, 4) and made.truth.masks == () and made.points is None
    assert made.problem == 'where is the fork?' and made.truth.count == 0


def test_the_same_seed_adds_the_same(tmp_path: Path) -> None:
    def ids(seed: int) -> list[str]:
        return [d.id for d in mixed(tmp_path, Mix(0.5, 0.5), seed=seed)]

    assert ids(1) == ids(1)
    assert len({tuple(ids(seed)) for seed in range(8)}) > 1


def test_the_survey_is_made_once_for_each_source(tmp_path: Path) -> None:
    path = tmp_path / 'survey.jsonl'
    first = survey(kitchen(), path)
    assert [a.problem for a in first] == [
        f'find every {label}.' for label in ('mug', 'plate', 'fork', 'mug')]
    lines = path.read_text().splitlines()
    path.write_text('\n'.join([*lines[:-1], json.dumps(json.loads(lines[-1]) | {'image': 'seen'})]))
    assert survey(kitchen(), path)[-1].image == 'seen'          # read, not made
    assert survey(kitchen(order=drawn_order(4, 3)), path)[-1].image != 'seen'


class Counting:
    """A source that counts how often its places are loaded; some are broken."""

    def __init__(self, source: DataSetSource, broken: frozenset[int] = frozenset()) -> None:
        self.name, self.identity, self.ids = source.name, source.identity, source.ids
        self.images, self.tells_absent = source.images, source.tells_absent
        self.absent, self._source, self._broken = source.absent, source, broken
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return len(self._source)

    def load(self, place: int) -> list[Draft]:
        self.loaded.append(place)
        if place in self._broken:
            raise SampleError('broken annotation')
        return list(self._source.load(place))


def coco(tmp_path: Path, seed: int | None = 3) -> DataSetSource:
    """Open 3 images of 4, 3 and 4 labels, in a drawn order; one box stands for many."""
    things = [{'id': 4 * image + i, 'image_id': image, 'category_id': image + i,
               'bbox': [5 * i, 2, 4, 6], 'iscrowd': int(image == i == 1)}
              for image in range(3) for i in range(4 - image % 2)]
    (tmp_path / 'set').mkdir(exist_ok=True)
    for image in range(3):
        Image.fromarray(IMAGE).save(tmp_path / 'set' / f'{image}.png')
    (tmp_path / 'set' / 'all.json').write_text(json.dumps({
        'images': [{'id': image, 'file_name': f'{image}.png'} for image in range(3)],
        'categories': [{'id': i, 'name': f'a/{i}'} for i in range(6)], 'annotations': things}))
    data_set = open_data_set(str(tmp_path / 'set' / 'all.json'), '')
    order = None if seed is None else drawn_order(len(data_set.ids), seed)
    return DataSetSource(data_set, Recipe('mini', is_exhaustive=True), order)


def test_images_are_known_before_they_are_read(tmp_path: Path) -> None:
    source = coco(tmp_path)
    assert source.images == [draft.truth.image for place in range(len(source))
                             for draft in source.load(place)]
    assert set(source.images) == {'0', '1', '2'} and kitchen().images is None


def made(source: Mixed) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for place in range(len(source)):
        try:
            found += [(d.id, d.problem, d.truth.boxes.tolist(), d.truth.masks)
                      for d in source.load(place)]
        except SampleError as error:
            found.append((place, str(error)))
    return found


@pytest.mark.parametrize('broken', [frozenset(), frozenset({1, 4})])
def test_joins_are_the_same_whether_all_was_looked_through_or_not(
    tmp_path: Path, broken: frozenset[int],
) -> None:
    mix = Mix(joins=0.7)
    for seed in range(5):
        source = Counting(coco(tmp_path, seed), broken)
        surveyed = survey(source, tmp_path / f'{seed} {len(broken)}.jsonl')
        with_survey, without = (made(Mixed(source, mix, seed, seen)) for seen in (surveyed, None))
        assert with_survey == without
        assert any('+' in str(name) for name, *_ in without)


def test_only_images_of_rows_that_are_made_are_looked_at(tmp_path: Path) -> None:
    source = Counting(coco(tmp_path))
    assert not needs_survey(source, Mix(joins=1.0))
    mixed = Mixed(source, Mix(joins=1.0), 0, None)
    place = next(place for place in range(len(source)) if list(mixed.load(place))[1:])
    read = {source.images[number] for number in source.loaded}
    # The places before it were the last of their images.
    assert read == {source.images[number] for number in range(place + 1)}
    source.loaded.clear()
    list(mixed.load(place))
    assert len(source.loaded) == 2                  # the row and what it is joined with


@pytest.mark.parametrize(('mix', 'is_needed'), [
    (Mix(joins=0.5), False),                                           # the image's own places
    (Mix(negatives=0.5), True), (Mix(0.5, 0.5), True),                 # words of any other image
])
def test_when_all_has_to_be_looked_through(tmp_path: Path, mix: Mix, is_needed: bool) -> None:
    assert needs_survey(coco(tmp_path, None), mix) == is_needed
    # A set that does not name the images of its places.
    assert needs_survey(kitchen(), mix)
