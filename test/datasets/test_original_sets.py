"""Sets as their authors give them away: ReasonSeg's shapes, expressions beside COCO, LVIS, CVAT."""
from __future__ import annotations

import json
import pickle
from pathlib import Path

import mini_sets
import numpy as np
import pytest
from PIL import Image

from vr_ros.core.rle import mask_to_rle, rle_to_mask
from vr_ros.core.types import Size, Task
from vr_ros.datasets.reasonseg import IGNORE, TARGET, draw
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSetError, SampleError, main_figure
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.panel import published_panel, strict_measures
from vr_ros.sim.truth import KINDS

SIZE = Size(40, 30)


def shape(label: str, *points: tuple[float, float]) -> dict:
    return {'label': label, 'labels': [label], 'shape_type': 'polygon', 'points': points}


def rectangle(label: str, x_min: int, y_min: int, x_max: int, y_max: int) -> dict:
    return shape(label, (x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max))


def painted(*steps: tuple[int, int, int, int, int]) -> np.ndarray:
    """Paint rectangles one over the other: value, then corners that belong to them."""
    values = np.zeros((SIZE.height, SIZE.width), int)
    for value, x_min, y_min, x_max, y_max in steps:
        values[y_min:y_max + 1, x_min:x_max + 1] = value
    return values


SMALL_IN_LARGE = [rectangle('target', 5, 5, 10, 10), rectangle('ignore', 2, 2, 20, 20)]


@pytest.mark.parametrize(('shapes', 'values'), [
    ([], painted()),
    ([rectangle('target', 3, 4, 8, 6)], painted((1, 3, 4, 8, 6))),
    (SMALL_IN_LARGE, painted((255, 2, 2, 20, 20), (1, 5, 5, 10, 10))),       # larger first
    (SMALL_IN_LARGE[::-1], painted((255, 2, 2, 20, 20), (1, 5, 5, 10, 10))),
    ([rectangle('Ignore', 5, 5, 6, 6), rectangle('target', 0, 0, 9, 9)],
     painted((1, 0, 0, 9, 9), (255, 5, 5, 6, 6))),
    ([rectangle('target', 0, 0, 9, 9), rectangle('FLAG', 2, 2, 4, 4)],       # a flag is no pixel
     painted((1, 0, 0, 9, 9))),
    ([rectangle('target', 35, 25, 60, 60)], painted((1, 35, 25, 39, 29))),   # beyond the image
    ([shape('target', (3.9, 4.9), (8.2, 4.1), (8.9, 6.5), (3.1, 6.9))],      # cut to whole pixels
     painted((1, 3, 4, 8, 6))),
    ([shape('target', (7, 7))], painted((1, 7, 7, 7, 7))),
])
def test_rectangles_are_drawn_as_by_hand(shapes, values):
    assert draw(shapes, SIZE).tolist() == values.tolist()


@pytest.mark.parametrize('seed', range(8))
def test_polygons_are_those_of_the_rule_of_crossings(seed):
    """But for a pixel along the edges, which belong to the shape."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 30, (rng.integers(3, 8), 2))
    rows, columns = np.mgrid[:SIZE.height, :SIZE.width]
    inside = np.zeros(rows.shape, bool)
    nearest = np.full(rows.shape, np.inf)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if y0 != y1:
            crosses = (rows >= min(y0, y1)) & (rows < max(y0, y1))
            inside ^= crosses & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
        along = np.array([x1 - x0, y1 - y0], float)
        share = ((columns - x0) * along[0] + (rows - y0) * along[1]) / max(along @ along, 1)
        share = np.clip(share, 0, 1)
        distance = np.hypot(columns - x0 - share * along[0], rows - y0 - share * along[1])
        nearest = np.minimum(nearest, distance)
    drawn = draw([shape('target', *corners.tolist())], SIZE) == TARGET
    assert np.array_equal(drawn[nearest > 1], inside[nearest > 1])
    assert drawn[nearest == 0].all() and drawn.any()


def write_reasonseg(folder: Path, name: str = 'one', **change: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (SIZE.width, SIZE.height)).save(folder / f'{name}.jpg')
    content = {'text': ['the part that one would hold', 'handle'], 'is_sentence': True,
               'shapes': SMALL_IN_LARGE} | change
    (folder / f'{name}.json').write_text(json.dumps(content))


def test_reasonseg(tmp_path):
    write_reasonseg(tmp_path / 'val')
    write_reasonseg(tmp_path / 'val', 'two', is_sentence=False, shapes=SMALL_IN_LARGE[:1])
    write_reasonseg(tmp_path / 'test', 'three')
    with pytest.raises(DataSetError, match='--split is one of test, val'):
        open_data_set(str(tmp_path))
    data_set = open_data_set(str(tmp_path), 'val')
    assert data_set.ids == ('one', 'two') and main_figure(data_set) == 'gIoU'
    one, two = data_set.load(0), data_set.load(1)
    assert (one.instruction, one.kind, two.kind) == (
        'the part that one would hold', 'sentence', 'phrase')
    assert one.task is Task.SEGMENTATION and two.truth.ignore is None
    values = painted((IGNORE, 2, 2, 20, 20), (TARGET, 5, 5, 10, 10))
    assert np.array_equal(rle_to_mask(one.truth.region), values == TARGET)
    assert np.array_equal(rle_to_mask(one.truth.ignore), values == IGNORE)
    assert open_data_set(str(tmp_path / 'val')).ids == data_set.ids


def test_ignored_pixels_count_neither_way_or_as_true_ones(tmp_path):
    """Worked out on pixels: the answer is half of the target, a bit of the rest and of neither."""
    write_reasonseg(tmp_path)
    truth = open_data_set(str(tmp_path)).load(0).truth
    values = painted((IGNORE, 2, 2, 20, 20), (TARGET, 5, 5, 10, 10))
    said = painted((1, 4, 5, 7, 10), (1, 30, 0, 30, 5)).astype(bool)
    found = Found(boxes=[(4, 0, 31, 11)], masks=(mask_to_rle(said),))
    panel = [*strict_measures([truth], [found]), *published_panel([truth], [found])]
    value = {f.name: f.value for f in figures(panel, rounds=0)}
    counted = values != IGNORE
    assert value['gIoU'] == pytest.approx(
        (said & (values == TARGET)).sum() / ((said | (values == TARGET)) & counted).sum())
    assert value['published gIoU'] == pytest.approx(
        (said & (values > 0)).sum() / (said | (values > 0)).sum())
    assert value['gIoU'] != pytest.approx(value['published gIoU'], abs=0.1)


@pytest.mark.parametrize(('change', 'words'), [
    ({'text': []}, 'IndexError'), ({'text': None}, 'the text is None'), ({'text': ['']}, "is ''"),
    ({'shapes': None}, 'broken shape'), ({'shapes': [{'label': 'target'}]}, 'points'),
    ({'shapes': [shape('target', (1, float('nan')))]}, 'corners'),
    ({'shapes': [shape('target', (1, 1e9))]}, 'corners'),
    ({'shapes': [shape('target')]}, 'corners'), ({'shapes': [shape(3, (1, 2))]}, 'broken shape'),
])
def test_a_bad_file_of_shapes_is_named_and_the_others_load(tmp_path, change, words):
    write_reasonseg(tmp_path, 'bad', **change)
    write_reasonseg(tmp_path, 'good')
    data_set = open_data_set(str(tmp_path))
    with pytest.raises(SampleError, match=words):
        data_set.load(0)
    assert data_set.load(1).truth.region


def test_a_file_as_windows_wrote_it_and_one_that_is_cut_off(tmp_path):
    for name in 'ab':
        write_reasonseg(tmp_path, name)
    (tmp_path / 'a.json').write_bytes(
        json.dumps({'text': 'the caf\u00e9', 'shapes': []}, ensure_ascii=False).encode('cp1252'))
    (tmp_path / 'b.json').write_text('{"text": ')
    data_set = open_data_set(str(tmp_path))
    assert data_set.load(0).instruction == 'the caf\u00e9' and data_set.load(0).truth.is_absent
    with pytest.raises(SampleError, match='b.json: JSONDecodeError'):
        data_set.load(1)


def write_refs(root: Path, name: str = 'grefs(unc).json', **change: object) -> list[dict]:
    """Write expressions beside COCO's annotations: of one object, of two, and of none."""
    mini_sets.write_coco(root)
    (root / 'annotations' / 'instances_val.json').rename(root / 'instances.json')
    frame, first = mini_sets.frames()[1], len(mini_sets.frames()[0].truth.objects)

    def ref(number: int, ids: object, *sentences: str, split: str = 'val') -> dict:
        return {'ref_id': number, 'image_id': frame.truth.seed, 'split': split, 'ann_id': ids,
                'sentences': [{'sent_id': 10 * number + i, 'raw': text.upper(), 'sent': text}
                              for i, text in enumerate(sentences)]}
    refs = [ref(1, first, 'the first', 'first'), ref(2, [first, first + 1], 'both'),
            ref(3, [-1], 'a whale'), ref(4, [first + 1], 'another part', split='testA')]
    refs[0] |= change
    (root / name).write_text(json.dumps(refs))
    return refs


def test_expressions_beside_coco(tmp_path):
    write_refs(tmp_path)
    with pytest.raises(DataSetError, match='--split is one of testA, val'):
        open_data_set(str(tmp_path))
    data_set = open_data_set(str(tmp_path), 'val')
    assert data_set.ids == ('1/10', '1/11', '2/20', '3/30')
    samples = [data_set.load(place) for place in range(4)]
    assert [s.instruction for s in samples] == ['the first', 'first', 'both', 'a whale']
    objects = mini_sets.frames()[1].truth.objects
    for sample, wanted in zip(samples, (1, 1, 2, 0), strict=True):
        assert sample.truth.boxes.tolist() == [list(o.box) for o in objects[:wanted]]
        assert sample.truth.masks == tuple(o.mask for o in objects[:wanted])
        assert sample.truth.is_absent is (wanted == 0)
        assert np.array_equal(sample.image, mini_sets.frames()[1].rgb)
    assert samples[3].kind == 'no object'
    assert open_data_set(str(tmp_path / 'grefs(unc).json'), 'testA').ids == ('4/40',)


class Runs:
    """Writes a file when it is read from a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_read(tmp_path):
    (tmp_path / 'refs(unc).p').write_bytes(pickle.dumps([Runs(tmp_path / 'ran')]))
    for path in (tmp_path, tmp_path / 'refs(unc).p'):
        with pytest.raises(DataSetError, match=r'is a pickle.*refcoco_val.*refs\(unc\)\.json'):
            open_data_set(str(path), 'val')
    assert not (tmp_path / 'ran').exists()
    write_refs(tmp_path, 'refs(unc).json')                 # written as the message says
    assert len(open_data_set(str(tmp_path), 'val').ids) == 4


@pytest.mark.parametrize(('change', 'words'), [
    ({'ann_id': 999}, 'broken expression: KeyError 999'), ({'ann_id': None}, 'KeyError None'),
    ({'ann_id': 0}, 'a mask of 320x240 for an image of 256x288'),          # of another image
    ({'image_id': 5}, 'broken expression: KeyError 5'),
    ({'sentences': [{'sent_id': 1, 'sent': None, 'raw': 3}]}, 'the text is 3'),
])
def test_a_bad_expression_is_named_and_the_others_load(tmp_path, change, words):
    write_refs(tmp_path, **change)
    data_set = open_data_set(str(tmp_path), 'val')
    with pytest.raises(SampleError, match=words):
        data_set.load(0)
    assert data_set.load(len(data_set.ids) - 1).instruction == 'a whale'


@pytest.mark.parametrize(('refs', 'words'), [
    ('[{}]', "KeyError 'split'"), ('{', 'Expecting'), ('[3]', 'TypeError'),
    ('[{"split": "val", "sentences": [{"sent_id": 1}, {"sent_id": 1}], "ref_id": 2}]', 'twice'),
])
def test_what_is_no_file_of_expressions_is_told(tmp_path, refs, words):
    write_refs(tmp_path)
    (tmp_path / 'grefs(unc).json').write_text(refs)
    with pytest.raises(DataSetError, match=words):
        open_data_set(str(tmp_path), 'val')


def test_lvis_asks_for_what_is_known_not_to_be_there(tmp_path):
    mini_sets.write_coco(tmp_path)
    path = tmp_path / 'annotations' / 'instances_val.json'
    content = json.loads(path.read_text())
    image = content['images'][0]
    there = {a['category_id'] for a in content['annotations'] if a['image_id'] == image['id']}
    absent = next(i for i in range(len(KINDS)) if i not in there)
    left_out = min(there)
    image['coco_url'] = f'http://images.cocodataset.org/images/{image.pop("file_name")}'
    image |= {'neg_category_ids': [absent], 'not_exhaustive_category_ids': [left_out]}
    path.write_text(json.dumps(content))
    data_set = open_data_set(str(tmp_path))
    places = [i for i, key in enumerate(data_set.ids) if key.startswith(f'{image["id"]}/')]
    samples = {data_set.load(i).instruction: data_set.load(i) for i in places}
    assert samples.keys() == {KINDS[i] for i in {*there, absent} - {left_out}}
    assert samples[KINDS[absent]].truth.is_absent
    assert np.array_equal(samples[KINDS[absent]].image, mini_sets.frames()[0].rgb)


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
 <image id="0" name="{name}.png" subset="val" width="{w}" height="{h}">
  <tag label="day" source="manual"/>
  <box label="cup" xtl="10.5" ytl="20" xbr="30" ybr="60.25" occluded="0"/>
  <box label="cup" xtl="50" ytl="20" xbr="70" ybr="60" occluded="0"/>
  <polygon label="door" points="80.0,120.0;160.0,120.0;160.0,180.0;80.0,180.0"/>
  <mask label="door" rle="1, 2, 1, 2" left="100" top="7" width="3" height="2"/>
  <ellipse label="sun" cx="5" cy="5" rx="2" ry="2"/>
 </image>
</annotations>"""


def write_cvat(root: Path, text: str = CVAT) -> None:
    mini_sets.write_images(root / 'images')
    frame = mini_sets.frames()[0].truth
    (root / 'annotations.xml').write_text(text.format(
        name=frame.seed, w=frame.size.width, h=frame.size.height))


def test_cvat(tmp_path):
    write_cvat(tmp_path)
    data_set = open_data_set(str(tmp_path))
    assert data_set.ids == ('0/cup', '0/door', '0/sun')
    cup, door = data_set.load(0), data_set.load(1)
    assert cup.truth.boxes.tolist() == [[10.5, 20, 30, 60.25], [50, 20, 70, 60]]
    assert cup.truth.masks is None and (cup.instruction, cup.truth.category) == ('cup', 'cup')
    mask = np.zeros((240, 320), bool)
    mask[7, 101:103] = mask[8, 101:103] = True             # row by row: 1 off, 2 on, 1 off, 2 on
    assert np.array_equal(rle_to_mask(door.truth.masks[1]), mask)
    assert door.truth.boxes.tolist() == [[80, 120, 160, 180], [101, 7, 103, 9]]
    assert sum(door.truth.masks[0].counts[1::2]) == 80 * 60
    with pytest.raises(SampleError, match='a ellipse is neither'):
        data_set.load(2)


@pytest.mark.parametrize(('old', 'new', 'words'), [
    ('ybr="60"', 'ybr="60" rotation="30.0"', 'a turned box'),
    ('ybr="60"', 'ybr="6"', 'not x_min'), (' ybr="60"', '', "KeyError 'ybr'"),
    ('xbr="30"', 'xbr="nan"', 'not x_min'), ('width="{w}"', 'width="7"', 'stated to be 7x240'),
    ('{name}.png', 'other.png', 'no image other.png'),
])
def test_a_bad_shape_is_named(tmp_path, old, new, words):
    write_cvat(tmp_path, CVAT.replace(old, new))
    with pytest.raises(SampleError, match=words):
        open_data_set(str(tmp_path)).load(0)


@pytest.mark.parametrize(('old', 'new', 'words'), [
    ('"1, 2, 1, 2"', '"1, 2"', '3 pixels for 3x2'), ('"1, 2, 1, 2"', '"6"', 'without pixels'),
    ('left="100"', 'left="319"', 'reaches out'), ('width="3"', 'width="99999999"', 'reaches out'),
    ('"80.0,120.0;160.0,120.0;', '"', '2 corners'), ('80.0,', 'x,', 'could not convert'),
])
def test_a_bad_mask_is_named(tmp_path, old, new, words):
    write_cvat(tmp_path, CVAT.replace(old, new))
    with pytest.raises(SampleError, match=words):
        open_data_set(str(tmp_path)).load(1)


@pytest.mark.parametrize(('text', 'words'), [
    ('<annotations>', 'no element found'), ('<other/>', 'not CVAT for images'),
    ('<annotations/>', 'no shapes'), ('<annotations><track id="0"/></annotations>', 'not CVAT for'),
    ('<!DOCTYPE a [<!ENTITY b "b">]><annotations>&b;</annotations>', 'document type'),
    (CVAT.replace('</annotations>', '') + CVAT[CVAT.index(' <image'):], "'0/cup' is there twice"),
])
def test_what_is_no_cvat_is_told(tmp_path, text, words):
    write_cvat(tmp_path, text)
    with pytest.raises(DataSetError, match=words):
        open_data_set(str(tmp_path))
