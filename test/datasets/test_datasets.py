"""Every format gives what the simulator knows to be true, and names what is wrong."""
from __future__ import annotations

import json
from pathlib import Path

import mini_sets
import numpy as np
import pytest
from PIL import Image

from vr_ros.core.types import Task
from vr_ros.datasets.registry import open_data_set
from vr_ros.datasets.sample import DataSetError, SampleError, decode_image


class Rows:
    """A table that was never in a file."""

    name = 'rows'

    def __init__(self, rows):
        self._rows = rows
        self.columns = list(rows[0])

    def __len__(self):
        return len(self._rows)

    def row(self, place):
        return self._rows[place]


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('sets')
    for name in ('folder', 'coco', 'yolo'):
        mini_sets.SETS[name](root / name)
    return root


def columns(rows, required=()):
    from vr_ros.datasets.columns import Columns
    from vr_ros.datasets.known import Known

    return Columns(Rows(rows), Known(columns=required))


def load_all(data_set):
    assert len(set(data_set.ids)) == len(data_set.ids) > 1
    return [data_set.load(place) for place in range(len(data_set.ids))]


def assert_same(samples, questions):
    assert len(samples) == len(questions)
    assert len({sample.image.shape for sample in samples}) == 2
    for sample, question in zip(samples, questions, strict=True):
        assert np.array_equal(sample.image, question.frame.rgb)
        assert sample.instruction == question.instruction.text
        assert sample.truth.size == question.size


def test_folder(root):
    questions = mini_sets.folder_questions()
    samples = load_all(open_data_set(str(root / 'folder')))
    assert_same(samples, questions)
    for sample, question in zip(samples, questions, strict=True):
        assert sample.task == question.instruction.task
        if sample.task is Task.VQA:
            assert sample.truth.answers == (question.instruction.answer,)
            assert sample.truth.count is None
        else:
            assert sample.truth.boxes.tolist() == [list(o.box) for o in question.wanted]
            assert sample.truth.masks == tuple(o.mask for o in question.wanted)
            assert sample.truth.is_absent is (not question.wanted)


def test_refcoco_columns():
    samples, questions = load_all(columns(mini_sets.refcoco_rows())), mini_sets.refcoco_questions()
    assert_same(samples, questions)
    for sample, question in zip(samples, questions, strict=True):
        assert sample.task is Task.SEGMENTATION
        assert sample.truth.masks == (question.wanted[0].mask,)
        assert sample.truth.boxes.tolist() == [list(question.wanted[0].box)]


def test_reasonseg_columns():
    questions = mini_sets.reasonseg_questions()
    samples = load_all(columns(mini_sets.reasonseg_rows()))
    assert_same(samples, questions)
    for sample, question in zip(samples, questions, strict=True):
        assert sample.truth.is_absent is (not question.wanted)
        if question.wanted:
            assert sample.truth.region == question.region
            assert sample.truth.boxes is None and sample.truth.count is None


def test_an_empty_mask_says_that_there_is_no_object():
    """As in gRefCOCO, whose box then is empty or missing."""
    row = mini_sets.refcoco_rows()[0]
    row['mask'] = [[False] * row['img_width']] * row['img_height']
    for bbox in ([], None, row['bbox']):
        truth = columns([row | {'bbox': bbox}, row]).load(0).truth
        assert truth.is_absent and truth.count == 0 and truth.has_pixels


def test_count_columns():
    questions = mini_sets.count_questions()
    samples = load_all(columns(mini_sets.count_rows()))
    assert_same(samples, questions)
    assert [s.truth.count for s in samples] == [len(q.wanted) for q in questions]
    assert {s.task for s in samples} == {Task.COUNTING}


def test_columns_of_boxes_and_of_answers():
    base = mini_sets.row(mini_sets.questions('detect_one')[0])
    boxes = columns([base | {'text': 'cup', 'bbox': [[1, 2, 3, 4], [5, 6, 7, 8]]}]).load(0)
    assert boxes.truth.category == 'cup' and boxes.truth.count == 2
    assert boxes.task is Task.DETECTION
    base['question'] = base.pop('text')
    assert columns([base | {'answers': ['12', 'twelve']}]).load(0).truth.answers == ('12', 'twelve')
    assert columns([base | {'answer': '12'}]).load(0).task is Task.VQA


def test_coco(root):
    data_set = open_data_set(str(root / 'coco'))
    samples = load_all(data_set)
    groups = [(frame, kind, objects) for frame in mini_sets.frames()
              for kind, objects in mini_sets.kinds(frame)]
    assert list(data_set.ids) == [f'{frame.truth.seed}/{kind}' for frame, kind, _ in groups]
    for sample, (frame, kind, objects) in zip(samples, groups, strict=True):
        assert np.array_equal(sample.image, frame.rgb)
        assert (sample.instruction, sample.truth.category) == (kind, kind)
        assert sample.truth.boxes.tolist() == [list(o.box) for o in objects]
        assert sample.truth.masks == tuple(o.mask for o in objects)
        crowd = [o is frame.truth.objects[-1] for o in objects]
        assert sample.truth.crowd.tolist() == crowd
        assert sample.truth.count == crowd.count(False)


def test_yolo(root):
    samples = load_all(open_data_set(str(root / 'yolo'), 'val'))
    groups = {(str(f.truth.seed), kind): (f, objects) for f in mini_sets.frames()
              for kind, objects in mini_sets.kinds(f)}
    assert {(s.truth.image, s.instruction) for s in samples} == groups.keys()
    for sample in samples:
        frame, objects = groups[sample.truth.image, sample.instruction]
        assert np.array_equal(sample.image, frame.rgb)
        assert np.allclose(sample.truth.boxes, [o.box for o in objects], atol=1e-5)
        assert sample.truth.masks is None


def test_yolo_polygons(root, tmp_path):
    mini_sets.write_images(tmp_path / 'images')
    stem = mini_sets.frames()[0].truth.seed
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels' / f'{stem}.txt').write_text('0 0.25 0.5 0.5 0.5 0.5 0.75 0.25 0.75\n')
    (tmp_path / 'data.yaml').write_text('names: {0: cup}\n')
    truth = open_data_set(str(tmp_path)).load(0).truth
    assert truth.boxes.tolist() == [[80, 120, 160, 180]]
    assert sum(truth.masks[0].counts[1::2]) == 80 * 60


class TestTables:
    """What needs pyarrow."""

    @pytest.fixture(autouse=True)
    def pyarrow(self):
        return pytest.importorskip('pyarrow', reason='pip install vr_ros[eval]')

    @pytest.mark.parametrize('name', ['refcoco_val', 'ReasonSeg_val', 'counting_pixmo_test'])
    def test_rows_come_back_from_shards(self, tmp_path, name):
        mini_sets.SETS[name](tmp_path / name)
        rows = {'refcoco_val': mini_sets.refcoco_rows, 'ReasonSeg_val': mini_sets.reasonseg_rows,
                'counting_pixmo_test': mini_sets.count_rows}[name]()
        read, expected = load_all(open_data_set(str(tmp_path / name))), load_all(columns(rows))
        for one, other in zip(read, expected, strict=True):
            assert np.array_equal(one.image, other.image)
            assert (one.instruction, one.task) == (other.instruction, other.task)
            assert one.truth.true_region == other.truth.true_region
            assert one.truth.count == other.truth.count

    def test_what_save_to_disk_writes(self, tmp_path, pyarrow):
        table = pyarrow.Table.from_pylist(mini_sets.count_rows())
        (tmp_path / 'test').mkdir()
        with pyarrow.ipc.new_stream(tmp_path / 'test' / 'data-00000-of-00001.arrow',
                                    table.schema) as stream:
            stream.write_table(table, max_chunksize=3)
        (tmp_path / 'dataset_dict.json').write_text('{"splits": ["test"]}')
        samples = load_all(open_data_set(str(tmp_path), 'test'))
        assert [s.truth.count for s in samples] == [r['count'] for r in mini_sets.count_rows()]

    @pytest.mark.parametrize(('feature', 'content', 'answers'), [
        ({'names': ['no', 'yes'], '_type': 'ClassLabel'}, 1, ('yes',)),
        ({'feature': {'names': ['no', 'yes'], '_type': 'ClassLabel'}, '_type': 'List'}, [1, 0],
         ('yes', 'no')),
        ({'dtype': 'int64', '_type': 'Value'}, 1, ('1',)),
    ])
    def test_numbers_stand_for_words_where_the_table_says_so(
        self, tmp_path, pyarrow, feature, content, answers,
    ):
        from pyarrow import parquet

        row = {'image': mini_sets.count_rows()[0]['image'], 'question': 'Is it?', 'answer': content}
        table = pyarrow.Table.from_pylist([row])
        told = json.dumps({'info': {'features': {'answer': feature, 'image': {'_type': 'Image'}}}})
        parquet.write_table(table.replace_schema_metadata({'huggingface': told}),
                            tmp_path / 'test.parquet')
        assert open_data_set(str(tmp_path)).load(0).truth.answers == answers

    @pytest.mark.parametrize('told', ['', '[]', '{"info": 3}', '{"info": {"features": [1]}}'])
    def test_what_a_table_tells_of_itself_may_be_anything(self, tmp_path, pyarrow, told):
        from pyarrow import parquet

        table = pyarrow.Table.from_pylist(mini_sets.count_rows()[:1])
        parquet.write_table(table.replace_schema_metadata({'huggingface': told}),
                            tmp_path / 'test.parquet')
        assert open_data_set(str(tmp_path)).load(0).truth.count is not None

    def test_a_missing_shard_is_an_error(self, tmp_path):
        mini_sets.write_parquet(tmp_path, mini_sets.count_rows())
        (tmp_path / 'data' / 'test-00000-of-00002.parquet').unlink()
        with pytest.raises(DataSetError, match='1 of 2 shards, missing: 0'):
            open_data_set(str(tmp_path))

    def test_a_cut_off_shard_is_an_error(self, tmp_path):
        mini_sets.write_parquet(tmp_path, mini_sets.count_rows())
        path = tmp_path / 'data' / 'test-00001-of-00002.parquet'
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataSetError, match='00001-of-00002.*cannot be read'):
            open_data_set(str(tmp_path))

    def test_missing_columns_are_named(self, tmp_path):
        mini_sets.write_parquet(tmp_path / 'refcoco_val', mini_sets.count_rows())
        with pytest.raises(DataSetError, match='lacks the columns mask, bbox; it has image, text'):
            open_data_set(str(tmp_path / 'refcoco_val'))

    def test_splits_are_told_apart(self, tmp_path):
        for split in ('val', 'test'):
            mini_sets.write_parquet(tmp_path / split, mini_sets.count_rows(), split)
        with pytest.raises(DataSetError, match='--split is one of test, val'):
            open_data_set(str(tmp_path))
        assert len(open_data_set(str(tmp_path), 'val').ids) == len(mini_sets.count_rows())


@pytest.mark.parametrize(('change', 'words'), [
    ({'image': None}, 'broken image'),
    ({'image': {'bytes': b'no image'}}, 'broken image'),
    ({'image': {'bytes': mini_sets.png(np.eye(300, dtype=np.uint8))[:150]}}, 'broken image'),
    ({'img_width': 5}, 'stated to be 5x240'),
    ({'text': None}, 'text is None'),
    ({'mask': None}, 'says nothing true'),
    ({'mask': [[float('nan')] * 320] * 240}, 'NaN'),
    ({'mask': [[True] * 320] * 239}, '320x239 for an image of 320x240'),
    ({'mask': [[True] * 320] * 239 + [[True]]}, 'broken mask'),
    ({'bbox': [5, 5, 1, 9]}, 'not x_min'),
    ({'bbox': [0, 0, float('nan'), 9]}, 'not x_min'),
    ({'bbox': [900, 0, 910, 9]}, 'outside'),
    ({'bbox': [1, 2, 3]}, 'four numbers'),
    ({'count': 2.5}, 'no number of objects'),
    ({'count': float('inf')}, 'no number of objects'),
    ({'count': '3'}, 'no number of objects'),
    ({'answers': [3]}, 'no texts'),
])
def test_a_bad_row_is_named_and_the_others_load(change, words):
    good = mini_sets.reasonseg_rows()[0]
    data_set = columns([good | dict.fromkeys(change), good | change, good])
    with pytest.raises(SampleError, match=words):
        data_set.load(1)
    assert data_set.load(2).instruction == good['text']


def test_lines_with_choices_and_rules(root):
    path, good = root / 'folder' / 'words.jsonl', good_line(root)
    base = {name: good[name] for name in ('image',)} | {'task': 'vqa'}
    lines = [
        base | {'id': 1, 'instruction': 'Which?', 'choices': ['red', 'blue'], 'answers': ['blue']},
        base | {'id': 2, 'instruction': 'Which?', 'choices': ['red', 'blue'], 'answers': ['A']},
        base | {'id': 3, 'instruction': 'What is it?', 'answers': ['12'], 'rule': 'ANLS'},
    ]
    path.write_text('\n'.join(map(json.dumps, lines)))
    samples = load_all(open_data_set(str(path)))
    path.unlink()
    assert samples[0].instruction == (
        'Which?\nA. red\nB. blue\nAnswer with the letter of the right choice.')
    assert [(s.truth.answers, s.truth.choices, s.truth.rule) for s in samples] == [
        (('B', 'blue'), ('red', 'blue'), 'choice accuracy'),
        (('A', 'red'), ('red', 'blue'), 'choice accuracy'), (('12',), (), 'ANLS')]


def good_line(root):
    return json.loads((root / 'folder' / 'val.jsonl').read_text().splitlines()[0])


@pytest.mark.parametrize(('change', 'words'), [
    ({'image': 'images/none.png'}, 'no image none.png'),
    ({'image': 'val.jsonl'}, 'broken image'),
    ({'image': 'a\0b'}, 'no image'),
    ({'image': '\ud800'}, 'no image'),
    ({'instruction': 3}, 'instruction is a str'),
    ({'box': [1, 2, 3, 4]}, "unknown field 'box', is it 'boxes'"),
    ({'boxes': [[1, 2, 3]]}, 'four numbers'),
    ({'boxes': [[1, 2, 3, 4]] * 9}, 'boxes, masks, crowd'),
    ({'masks': [[1, 2, 3, 4]]}, 'polygon of 2 corners'),
    ({'absent': True}, 'yet there is something'),
    ({'task': 'find'}, "task 'find' is none of"),
    ({'task': []}, 'task'),
    ({'masks': [[0, 0, 1e10, 0, 0, 1]]}, 'far outside'),
    ({'count': -1}, 'below 0'),
    ({'count': True}, 'count is a int'),
    ({'answers': 'red'}, 'answers is a list'),
    ({'answers': [3]}, 'answers are texts'),
    ({'choices': ['a', 'b']}, 'of choices one is right'),
    ({'choices': ['a', 'b'], 'answers': ['c']}, "answer 'c' is none of the choices a, b"),
    ({'choices': 'ab', 'answers': ['a']}, 'choices is a list'),
    ({'answers': ['a'], 'rule': 'guess'}, "rule 'guess' is none of VQA exact, ANLS"),
])
def test_a_bad_line_is_named_and_the_others_load(root, change, words):
    path, good = root / 'folder' / 'bad.jsonl', good_line(root)
    path.write_text('\n'.join([json.dumps(good | change | {'id': 'bad'}), json.dumps(good)]))
    data_set = open_data_set(str(path))
    with pytest.raises(SampleError, match=words):
        data_set.load(0)
    assert data_set.load(1).instruction == good['instruction']
    path.unlink()


def test_lines_that_are_none_are_samples_that_cannot_be_used(root):
    path, good = root / 'folder' / 'bad.jsonl', good_line(root)
    lacking = {name: good[name] for name in ('id', 'image')}
    path.write_text('\n'.join(['{"id": ', '', '[]', json.dumps(lacking),
                               json.dumps(lacking | {'id': 'x', 'instruction': 'a\u2028b'})]))
    data_set = open_data_set(str(path))
    assert data_set.ids == ('line 1', 'line 3', 'q0', 'x')
    for place, words in enumerate(('no JSON', 'not an object', 'lacks instruction', 'nothing tru')):
        with pytest.raises(SampleError, match=words):
            data_set.load(place)
    path.unlink()


@pytest.mark.parametrize(('name', 'split', 'words'), [
    ('nowhere', '', 'no such folder or file, and none of the known names refcoco_val'),
    ('refcoco_testA', '', 'hf download Ricky06662/refcoco_testA'),
    ('folder', 'test', '--split is one of val'),
    ('coco', 'test', '--split is one of instances_val'),
    ('yolo', 'train', 'no labels'),
    ('folder/images', '', 'no data set: no JSON lines'),
])
def test_what_is_no_data_set_is_told(root, name, split, words):
    with pytest.raises(DataSetError, match=words):
        open_data_set(str(root / name), split)


@pytest.mark.parametrize(('content', 'words'), [
    ('{', 'Expecting'),
    ('[]', 'lacks images, annotations, categories'),
    ('{"images": [], "annotations": []}', 'lacks categories'),
    ('{"images": [], "annotations": [], "categories": []}', 'no annotations'),
    ('{"images": [], "annotations": [{"image_id": 7, "category_id": 1}], "categories": []}',
     'KeyError'),
])
def test_what_is_no_coco_is_told(tmp_path, content, words):
    (tmp_path / 'x.json').write_text(content)
    with pytest.raises(DataSetError, match=words):
        open_data_set(str(tmp_path / 'x.json'))


def test_an_id_twice_is_told(root):
    path, good = root / 'folder' / 'bad.jsonl', good_line(root)
    path.write_text(f'{json.dumps(good)}\n{json.dumps(good)}\n')
    with pytest.raises(DataSetError, match="'q0' is there twice"):
        open_data_set(str(path))
    path.unlink()


def test_images_are_upright_and_have_three_channels_of_8_bits(tmp_path):
    pixels = np.zeros((4, 6), np.uint8)
    pixels[0, 0] = 200
    exif = Image.Exif()
    exif[0x0112] = 6                              # to be turned clockwise
    Image.fromarray(pixels).save(tmp_path / 'turned.png', exif=exif)
    image = decode_image((tmp_path / 'turned.png').read_bytes())
    assert image.shape == (6, 4, 3) and image[0, 3].tolist() == [200, 200, 200]
    Image.fromarray(pixels.astype(np.uint16)).save(tmp_path / 'deep.png')
    with pytest.raises(SampleError, match='8 bits'):
        decode_image((tmp_path / 'deep.png').read_bytes())
