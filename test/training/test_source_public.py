"""Public sets as sources of training data, each on a miniature of its published form."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import mini_sets
import mini_training
import numpy as np
import pytest
from mini_training import picture, write_table
from test_original_sets import write_reasonseg
from test_training_sets import ASKED, LINES

from vr_ros.core.types import Size, Task
from vr_ros.datasets.sample import DataSetError, SampleError
from vr_ros.sim.truth import KINDS
from vr_ros.training.data.convert import Converter
from vr_ros.training.data.registry import builders
from vr_ros.training.data.schema import Row
from vr_ros.training.data.source import LeftOut
from vr_ros.training.data.sources.declared import (
    Drawing,
    PublicSource,
    in_pieces,
    open_public,
)
from vr_ros.training.data.sources.public import BUILDERS, NATURAL, SETS
from vr_ros.training.data.storage import Storage

KEPT = Storage(None)


def opened(name: str, path: Path, split: str = 'train', **drawing: object) -> PublicSource:
    return open_public(name, SETS[name], path, split, Drawing(**{'seed': None, **drawing}))


def rows_of(source: PublicSource, storage: Storage = KEPT) -> list[Row]:
    converter = Converter(source.name, 'train', storage)
    return [converter.row(draft) for place in range(len(source)) for draft in source.load(place)]


def truth_of(row: Row) -> object:
    return json.loads(row.sample.ground_truth)


def test_refcocog_asks_for_all_of_an_image_at_once(tmp_path):
    mini_training.write_refs(tmp_path)
    row, = rows_of(opened('refcocog', tmp_path), Storage(Size(840, 840)))
    frame = mini_sets.frames()[1].truth
    assert (row.problem, row.task, row.data_source) == (
        "'the 0' and 'the 1'", 'segmentation', 'refcocog')
    # VisionReasoner: int(v * 840 / side + 0.5).
    scale = np.tile([840 / frame.size.width, 840 / frame.size.height], 2)
    assert [item['bbox_2d'] for item in truth_of(row)] == [
        [int(v * s + 0.5) for v, s in zip(o.box, scale, strict=True)] for o in frame.objects[:2]]
    assert row.sample.verifier == 'visionreasoner' and row.size == Size(840, 840)


def test_grefcoco_with_and_without_what_is_not_there(tmp_path):
    mini_training.write_refs(tmp_path, 'grefs(unc).json')
    rows = rows_of(opened('grefcoco', tmp_path))
    assert [len(truth_of(row)) for row in rows] == [1, 1, 1, 1, 2, 2, 0, 0]
    for only, numbers in (('absent', [0, 0]), ('present', [1, 1, 1, 1, 2, 2]),
                          ('single', [1] * 4), ('several', [2, 2])):
        source = opened('grefcoco', tmp_path, only=only)
        assert [len(truth_of(row)) for row in rows_of(source)] == numbers
    assert rows[6].sample.ground_truth == '[]' and json.loads(rows[6].extra) == {
        'kind': 'no object'}


def test_lvis_asks_for_what_it_knows_to_be_absent(tmp_path):
    absent, unsure = mini_training.write_lvis(tmp_path)
    row, = rows_of(opened('lvis', tmp_path, only='absent'))
    assert (row.problem, row.sample.ground_truth) == (KINDS[absent], '[]')
    first = mini_sets.frames()[0].truth.seed
    asked = {row.id for row in rows_of(opened('lvis', tmp_path))}
    assert f'lvis/{first}/{KINDS[unsure]}' not in asked


def write_coco_2017(root: Path, part: str = 'train') -> None:
    """Write COCO's files; a file of captions lies beside the instances, as in the archive."""
    mini_sets.write_coco(root)
    (root / 'images').rename(root / f'{part}2017')
    path = root / 'annotations' / 'instances_val.json'
    content = json.loads(path.read_text())
    path.unlink()
    for name in ('instances', 'captions'):
        (root / 'annotations' / f'{name}_{part}2017.json').write_text(json.dumps(content))


def test_coco_with_a_category_that_is_not_there(tmp_path):
    write_coco_2017(tmp_path)
    source = opened('coco', tmp_path)
    absent = opened('coco', tmp_path, only='absent')
    frames = {str(f.truth.seed): {o.kind for o in f.truth.objects} for f in mini_sets.frames()}
    rows = rows_of(absent)
    assert len(rows) == len(frames)
    for row in rows:
        image, category = row.id.split('/')[1:]
        assert row.problem == category not in frames[image] and truth_of(row) == []
    # The last object of each frame stands for many: such a row cannot be rewarded.
    crowded = [place for place in range(len(source)) if _outcome(source, place) == (
        'an object stands for many')]
    assert len(crowded) == len(frames)


def _outcome(source: PublicSource, place: int) -> str:
    try:
        for draft in source.load(place):
            Converter(source.name, 'train', KEPT).row(draft)
    except LeftOut as error:
        return error.reason
    except SampleError as error:
        return f'broken: {error}'
    return 'kept'


def test_lisa_plus(tmp_path):
    mini_training.write_lisa_plus(tmp_path)
    source = opened('lisa_plus', tmp_path)
    outcomes = [_outcome(source, place) for place in range(len(source))]
    assert outcomes[:2] == ['kept', 'kept'] and all('broken' in one or 'no objects' in one
                                                    for one in outcomes[2:])
    draft, = source.load(0)
    assert draft.truth.labels == tuple(o.kind for o in mini_sets.frames()[1].truth.objects[:2])


def test_reasonseg_takes_regions_that_hang_together_as_one_object(tmp_path):
    folder = tmp_path / 'train'
    write_reasonseg(folder)
    corners = [[[2, 2], [5, 2], [5, 5], [2, 5]], [[20, 20], [25, 20], [25, 25], [20, 25]]]
    write_reasonseg(folder, 'two', shapes=[
        {'label': 'target', 'points': points} for points in corners], text=['apart'])
    source = opened('reasonseg', tmp_path)
    assert [_outcome(source, place) for place in range(3)] == [
        'kept', 'kept', 'region in several parts']
    row = rows_of(opened('reasonseg', tmp_path, filters=[]))[0]
    # The rectangle 5..10 with its outline: boxes end behind the last pixel.
    assert [item['bbox_2d'] for item in truth_of(row)] == [[5, 5, 11, 11]]


@pytest.mark.parametrize(('name', 'file', 'part'), [
    ('v3det', 'v3det_2023_v1_{}.json', 'train'), ('objects365', 'zhiyuan_objv2_{}.json', 'train'),
    ('objects365', 'zhiyuan_objv2_{}.json', 'val'),
    ('d3', 'd3_json/d3_full_annotations.json', 'train'),
    ('d3', 'd3_json/d3_pres_annotations.json', 'pres'),
])
def test_detection_is_told_in_shares_of_the_image(tmp_path, name, file, part):
    mini_sets.write_coco(tmp_path)
    path = tmp_path / 'annotations' / 'instances_val.json'
    content = json.loads(path.read_text())
    path.unlink()
    for annotation in content['annotations']:
        del annotation['segmentation']
        annotation['iscrowd'] = 0
    if name == 'd3':
        (tmp_path / 'images').rename(tmp_path / 'd3_images')
        (tmp_path / 'd3_json').mkdir()
    (tmp_path / file.format(part)).write_text(json.dumps(content))
    source = opened(name, tmp_path, part, filters=[])
    rows = rows_of(source, NATURAL)
    frames = {str(f.truth.seed): f.truth for f in mini_sets.frames()}
    for row in rows:
        frame = frames[row.id.split('/')[1]]
        objects = [o for o in frame.objects if o.kind == row.problem]
        scale = np.tile([1000 / frame.size.width, 1000 / frame.size.height], 2)
        for item, thing in zip(truth_of(row), objects, strict=True):
            assert item['label'] == row.problem
            # Once to the pixels of the stored image, once to shares: each rounds to a half.
            assert np.abs(np.array(item['bbox_2d']) - np.array(thing.box) * scale).max() < 2
        assert row.sample.parameters == {'det_verifier_normalized': True}
        assert 512 ** 2 <= row.width * row.height <= 2048 ** 2


class TestFiltersOfBoxes:
    """One image of 100 x 100, one category, boxes as given."""

    def outcome(self, root: Path, boxes: list[list[float]]) -> str:
        (root / 'images').mkdir()
        (root / 'images' / '1.png').write_bytes(mini_sets.png(np.zeros((100, 100, 3), np.uint8)))
        (root / 'v3det_2023_v1_train.json').write_text(json.dumps({
            'images': [{'id': 1, 'file_name': 'images/1.png', 'width': 100, 'height': 100}],
            'categories': [{'id': 7, 'name': 'cup'}],
            'annotations': [{'id': i, 'image_id': 1, 'category_id': 7, 'bbox': box}
                            for i, box in enumerate(boxes)]}))
        return _outcome(opened('v3det', root), 0)

    @pytest.mark.parametrize(('boxes', 'outcome'), [
        ([[0, 0, 100, 50]], 'kept'),                                # exactly half of the image
        ([[0, 0, 100, 50.1]], 'box larger than wanted'),
        ([[0, 0, 5, 5], [0, 0, 80, 80]], 'box larger than wanted'),  # one of them
        ([[i, 0, 5, 5] for i in range(10)], 'kept'),
        ([[i, 0, 5, 5] for i in range(11)], 'more objects than wanted'),
    ])
    def test_edges(self, tmp_path, boxes, outcome):
        assert self.outcome(tmp_path, boxes) == outcome


def test_pixmo_counts_with_points(tmp_path):
    mini_training.write_pixmo(tmp_path)
    source = opened('pixmo_count', tmp_path)
    assert [_outcome(source, place) for place in range(2)] == ['kept', 'points and count differ']
    draft, = source.load(0)
    row = Converter('pixmo_count', 'train', Storage(Size(840, 840))).row(draft)
    assert (row.problem, row.task, row.ability) == (
        'How many cups are there in the image?', 'counting', 'counting')
    assert (row.sample.verifier, row.sample.ground_truth) == ('counting', '2')
    # The frame is 320 x 240: 32 and 160 of 320, 24 and 120 of 240.
    assert json.loads(row.extra)['points'] == [[0.1, 0.1], [0.5, 0.5]]


def test_clevr(tmp_path):
    write_table(tmp_path, [
        {'image': picture(), 'problem': 'How many items are there?',
         'solution': f'<answer> {count} </answer>'} for count in (3, 7)])
    rows = rows_of(opened('clevr_count', tmp_path))
    assert [row.sample.ground_truth for row in rows] == ['3', '7']
    assert {row.sample.verifier for row in rows} == {'counting'}


QUESTIONS = {
    'geometry3k': ('geometry3k', 'math', 'mathverify', '12'),
    'mmk12': ('MMK12', 'math', 'mathverify', '5'),
    'puzzlevqa': ('PuzzleVQA', 'puzzle', 'exact', 'blue'),
    'algopuzzlevqa': ('PuzzleVQA', 'puzzle', 'exact', 'blue'),
    'chartqapro': ('ChartQAPro', 'chart', 'numeric', '12'),
    'llava_ocr': ('LLaVA-OneVision-Data', 'ocr', 'exact', 'STOP'),
    'virl39k_chart': ('ViRL39K', 'chart', 'mathverify', '7'),
}


@pytest.mark.parametrize('name', QUESTIONS)
def test_questions(tmp_path, name):
    pytest.importorskip('math_verify')
    columns, ability, verifier, truth = QUESTIONS[name]
    row, _, _, _ = ASKED[columns]
    row = {key: _with_picture(value) for key, value in row.items()}
    write_table(tmp_path, [row], 'test' if name == 'chartqapro' else 'train')
    made, = rows_of(opened(name, tmp_path), NATURAL)
    assert (made.ability, made.task) == (ability, 'vqa')
    assert (made.sample.verifier, made.sample.ground_truth) == (verifier, truth)
    # 320 x 240 is below 512 x 512: enlarged by 1.8475, to whole pixels above.
    assert made.size == Size(592, 444)


# Their columns as evaluation knows them; what is asked with choices is scored by letter or text.
MORE = {
    'scienceqa': ({'image': picture, 'question': 'Which is north?', 'choices': ['Ohio', 'Texas'],
                   'answer': 0, 'hint': 'Look.', 'lecture': ''}, 'exact', '["A", "Ohio"]'),
    'visualpuzzles': ({'image': picture, 'question': 'Which?', 'options': ['up', 'down'],
                       'answer': 'B', 'category': 'x'}, 'exact', '["B", "down"]'),
    'chartqa': ({'image': picture, 'query': 'How many?', 'label': ['100'],
                 'human_or_machine': 0}, 'numeric', '100'),
    'textvqa': ({'image_id': 'a', 'question': 'Which brand?', 'image': picture,
                 'answers': ['12'] * 9 + ['13'], 'ocr_tokens': ['12']}, 'exact', '["12", "13"]'),
}


@pytest.mark.parametrize('name', MORE)
def test_more_questions(tmp_path, name):
    pytest.importorskip('math_verify')
    row, verifier, truth = MORE[name]
    write_table(tmp_path, [{key: value() if callable(value) else value
                            for key, value in row.items()}])
    made, = rows_of(opened(name, tmp_path), NATURAL)
    assert (made.sample.verifier, made.sample.ground_truth, made.ability) == (
        verifier, truth, SETS[name].ability)
    assert made.sample.parameters == ({'relative': 0.05} if name == 'chartqa' else {})


def _with_picture(value: object) -> object:
    """Put a frame of the simulator into a cell that holds the tests' tiny picture."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and 'bytes' in value[0]:
        return [picture()]
    if isinstance(value, bytes):
        return picture()['bytes']
    return picture() if isinstance(value, dict) and 'bytes' in value else value


def test_kinds_of_virl39k_are_apart(tmp_path):
    pytest.importorskip('math_verify')
    base = ASKED['ViRL39K'][0] | {'image': [picture()]}
    kinds = ['Tables/Diagrams/Charts', '(GradeSchool) Science', 'Broader STEM Topics', 'Geometry']
    write_table(tmp_path, [base | {'category': kind} for kind in kinds])
    for name, wanted in (('virl39k_chart', [0]), ('virl39k_science', [1, 2])):
        source = opened(name, tmp_path)
        assert [place for place in range(4) if _outcome(source, place) == 'kept'] == wanted


def test_mm_math(tmp_path):
    pytest.importorskip('math_verify')
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / '1.png').write_bytes(picture()['bytes'])
    short = LINES[0] | {'solution': r'Therefore \boxed{8}.'}
    (tmp_path / 'MM_Math.jsonl').write_text('\n'.join(map(json.dumps, (*LINES, short))))
    rows = rows_of(opened('mm_math', tmp_path))
    assert [row.sample.ground_truth for row in rows] == [r'\frac{1}{2}', '8']


class TestWhatIsMissing:
    @pytest.mark.parametrize('name', SETS)
    def test_one_line_says_what_to_get(self, tmp_path, name):
        declared = SETS[name]
        with pytest.raises(DataSetError) as error:
            opened(name, tmp_path / name)
        message = str(error.value)
        assert declared.page in message and declared.files in message and '\n' not in message
        assert not any(host in message for host in ('huggingface', 'hf.co', 'pypi'))

    def test_a_folder_without_its_files(self, tmp_path):
        with pytest.raises(DataSetError, match='No such file.*RefCOCOg is refs|RefCOCOg is refs'):
            (tmp_path / 'refs(umd).json').write_text('[]')
            opened('refcocog', tmp_path)

    def test_other_columns(self, tmp_path):
        write_table(tmp_path, [{'image': picture(), 'question': 'a'}])
        with pytest.raises(DataSetError, match=r'lacks the columns.*it has image, question.*MM-EU'):
            opened('mmk12', tmp_path)

    def test_a_pickle(self, tmp_path):
        (tmp_path / 'refs(umd).p').write_bytes(b'x')
        with pytest.raises(DataSetError, match=r'is a pickle.*json\.dump.*RefCOCOg is'):
            opened('refcocog', tmp_path)


class TestDrawing:
    def test_seeds(self, tmp_path):
        mini_training.write_refs(tmp_path, 'grefs(unc).json')
        orders = [tuple(opened('grefcoco', tmp_path, seed=seed).ids) for seed in (1, 1, 2, None)]
        assert orders[0] == orders[1] != orders[2]
        assert {frozenset(order) for order in orders} == {frozenset(orders[3])}
        sources = [opened('grefcoco', tmp_path, seed=seed) for seed in (1, 1, 2)]
        assert sources[0].identity == sources[1].identity != sources[2].identity

    def test_categories_take_turns(self, tmp_path):
        images = [{'id': i, 'file_name': f'{i}.png'} for i in range(60)]
        often = [0] * 50 + [1] * 7 + [2] * 3
        (tmp_path / 'v3det_2023_v1_train.json').write_text(json.dumps({
            'images': images, 'categories': [{'id': i, 'name': f'c{i}'} for i in range(3)],
            'annotations': [{'image_id': i, 'category_id': category, 'bbox': [0, 0, 1, 1]}
                            for i, category in enumerate(often)]}))
        ids = opened('v3det', tmp_path, seed=5, balanced=True).ids
        names = [name.split('/')[1] for name in ids]
        assert len(set(ids)) == 60
        for turn in range(3):
            assert set(names[3 * turn:3 * turn + 3]) == {'c0', 'c1', 'c2'}
        assert names[9:17].count('c1') == 4 and set(names[17:]) == {'c0'}

    @pytest.mark.parametrize(('number', 'limit', 'pieces'), [
        (1000, 100, 40), (1000, None, 4), (1000, 3, 1000), (10, 400, 1), (0, 5, 0)])
    def test_tables_are_read_through_piece_by_piece(self, number, limit, pieces):
        drawn = np.random.default_rng(1).permutation(number)
        order = in_pieces(drawn, limit)
        assert sorted(order) == list(range(number))
        size = -(-number // pieces) if pieces else 1
        for start in range(0, number, size):
            piece = order[start:start + size]
            assert list(piece) == sorted(piece) and set(piece) == set(drawn[start:start + size])
        if limit == 100:                      # the rows that are taken are from all of the table
            assert order[:100].max() > 900 and order[:100].min() < 100

    def test_only_tables_are_sorted(self, tmp_path):
        write_table(tmp_path, [
            {'image': picture(), 'problem': 'How many?', 'solution': f'<answer>{i}</answer>'}
            for i in range(12)])
        ids = [int(name) for name in opened('clevr_count', tmp_path, seed=3, limit=12).ids]
        pieces = [ids[start:start + 3] for start in range(0, 12, 3)]
        assert all(piece == sorted(piece) for piece in pieces) and ids != sorted(ids)

    def test_what_has_no_categories_cannot_take_turns(self, tmp_path):
        mini_training.write_refs(tmp_path)
        with pytest.raises(DataSetError, match='no categories'):
            opened('refcoco', tmp_path, balanced=True)

    def test_only_is_known(self):
        with pytest.raises(DataSetError, match='only is one of absent, present, single, several'):
            Drawing(only='two')


def options_of(name: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    BUILDERS[name].add_options(parser)
    options = parser.parse_args(arguments)
    options.seed, options.split, options.limit = None, 'train', None
    return options


def test_how_it_is_scored_can_be_said(tmp_path):
    mini_training.write_refs(tmp_path)
    source = BUILDERS['refcoco'].open(options_of(
        'refcoco', '--data', str(tmp_path), '--verifier', 'detection', '--parameters',
        '{"iou_threshold": 0.5}', '--accuracy-ratio', '1', '--format-ratio', '0.1'))
    sample = rows_of(source)[0].sample
    assert (sample.verifier, sample.parameters, sample.accuracy_ratio, sample.format_ratio) == (
        'detection', {'iou_threshold': 0.5}, 1, 0.1)


def test_every_set_is_a_source_and_says_its_licence():
    assert set(SETS) <= set(builders())
    for declared in SETS.values():
        assert declared.licence and declared.page.startswith('https://')
    assert all(Task[task.upper()] for task in ('vqa', 'counting'))


def test_every_set_is_in_the_documentation():
    text = (Path(__file__).parents[2] / 'docs/training_sets.md').read_text(encoding='utf-8')
    for name, declared in SETS.items():
        row = next((line for line in text.splitlines() if line.startswith(f'| `{name}`')), '')
        assert declared.title in row and declared.licence in row, name
