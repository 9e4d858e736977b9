"""``./run train samples``: the frames of a bag, with what people say is true, become rows."""
from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from bag_maker import BOX, HEIGHT, WIDTH, Bag, header
from PIL import Image

from vr_ros.msg import Answer, Outcome
from vr_ros.training.cli import main
from vr_ros.training.data.schema import Row
from vr_ros.training.data.shards import iter_rows, read_broken

ELSEWHERE = (0.0, 0.0, 1.0, 1.0)
TRUTH = '/truth/detections'
COUNTING, VQA, NO_OBJECT, TIMEOUT = 3, 4, 1, 101


def samples(bag: Path, *more: object) -> tuple[int, list[Row], dict[str, str]]:
    """:return: exit status, rows, and why others were left out, by their place."""
    out = bag.parent / 'rows'
    status = main(['samples', '--bag', str(bag), '--out', str(out), '--size', 'keep',
                   *map(str, more)])
    if status == 2:
        return status, [], {}
    return status, list(iter_rows(out, 'train')), {
        one['detail'].split(':')[0]: one['reason'] for one in read_broken(out)}


def boxes(row: Row) -> list[list[int]]:
    return [item['bbox_2d'] for item in json.loads(row.sample.ground_truth)]


def say(bag: Bag, name: str, stamp: int, text: str, topic: str) -> None:
    bag.add(topic, Answer(header=header(stamp, 'front'), answer=text,
                          outcome=Outcome(instruction_id=name, is_final=True)))


@pytest.fixture
def corrected(tmp_path: Path) -> Path:
    """Make a bag whose truth topics tell what would have been right."""
    bag = Bag(tmp_path / 'bag')
    for stamp in (1, 2, 3):
        bag.show(stamp)
    bag.answer('right', 1)
    bag.answer('right', 1, TRUTH)
    bag.answer('wrong', 2, boxes=(ELSEWHERE,))
    bag.answer('wrong', 2, TRUTH)
    bag.answer('nothing', 2)
    bag.answer('nothing', 2, TRUTH, boxes=(), status=NO_OBJECT)
    bag.answer('count', 3, task=COUNTING)
    bag.answer('count', 3, TRUTH, boxes=(BOX, ELSEWHERE), task=COUNTING)
    bag.answer('colour', 3, task=VQA, boxes=())
    bag.answer('colour', 3, TRUTH, task=VQA, boxes=())
    say(bag, 'colour', 3, 'green', '/answer')
    say(bag, 'colour', 3, 'red', '/truth/answer')
    bag.answer('unknown', 3)
    bag.answer('unseen', 77)
    bag.answer('blind', 0, status=105)
    return bag.close()


def test_corrected_results_become_rows(corrected: Path) -> None:
    status, rows, left_out = samples(corrected)
    by_id = {row.id.removeprefix('bag/').split('/')[0]: row for row in rows}
    assert status == 0 and set(by_id) == {'right', 'wrong', 'nothing', 'count', 'colour'}
    box = list(map(int, BOX))
    assert boxes(by_id['right']) == [box] and boxes(by_id['wrong']) == [box]     # not what was said
    assert boxes(by_id['nothing']) == []
    assert boxes(by_id['count']) == [box, list(map(int, ELSEWHERE))]
    assert {name: row.task for name, row in by_id.items()} == {
        'right': 'detection', 'wrong': 'detection', 'nothing': 'detection', 'count': 'counting',
        'colour': 'vqa'}
    assert by_id['colour'].sample.ground_truth == 'red'
    assert by_id['wrong'].problem == 'text of wrong'
    for name, stamp in (('right', 1), ('wrong', 2), ('count', 3)):
        pixels = np.asarray(Image.open(io.BytesIO(by_id[name].image)))
        assert pixels.shape == (HEIGHT, WIDTH, 3) and (pixels == stamp).all()
        assert json.loads(by_id[name].extra)['stamp_ns'] == stamp * 10**9
    assert {name.split('/')[0]: why for name, why in left_out.items()} == {
        'unknown': 'nothing is known to be true', 'unseen': 'its image is not in the bag',
        'blind': 'an answer without an image'}


def test_recorded_results_are_taken_for_true_only_by_name(corrected: Path) -> None:
    status, rows, left_out = samples(corrected, '--results-as-truth', '--name', 'pseudo')
    by_id = {row.id.removeprefix('pseudo/').split('/')[0]: row for row in rows}
    assert status == 0 and boxes(by_id['wrong']) == [list(map(int, ELSEWHERE))]
    assert boxes(by_id['unknown']) == [list(map(int, BOX))]
    assert by_id['colour'].sample.ground_truth == 'green'
    assert all(json.loads(row.extra)['pseudo_label'] for row in rows)
    assert {row.data_source for row in rows} == {'pseudo'}
    assert {name.split('/')[0] for name in left_out} == {'unseen', 'blind'}


def test_errors_of_the_robot_are_no_truth(tmp_path: Path) -> None:
    bag = Bag(tmp_path / 'bag')
    bag.show(1)
    bag.answer('late', 1, boxes=(), status=TIMEOUT)
    bag.answer('good', 1)
    _, rows, left_out = samples(bag.close(), '--results-as-truth')
    assert [row.problem for row in rows] == ['text of good']
    assert list(left_out.values()) == ['no result to be taken for true']


def test_annotations_of_exported_frames_become_rows(tmp_path: Path) -> None:
    bag = Bag(tmp_path / 'bag')
    bag.show(1, '/camera/image')
    bag.show(2, '/camera/image')
    for name, stamp in (('the cup', 1), ('the spoon', 1), ('Find the mug!', 2)):
        bag.answer(f'{name} {stamp}', stamp, instruction_text=name, boxes=(ELSEWHERE,))
    x, y, right, bottom = BOX
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps({
        'images': [{'id': i, 'file_name': f'camera_image-{i}_000000000.png', 'width': WIDTH,
                    'height': HEIGHT} for i in (1, 2)],
        'categories': [{'id': 7, 'name': 'The cup'}, {'id': 8, 'name': 'the spoon'}],
        'annotations': [{'id': i, 'image_id': i, 'category_id': 7,
                         'bbox': [x, y, right - x, bottom - y]} for i in (1, 2)]}))
    status, rows, _ = samples(bag.close(), '--truth', path, '--label', 'find the mug=The cup')
    assert status == 0 and {row.problem: boxes(row) for row in rows} == {
        'the cup': [list(map(int, BOX))], 'the spoon': [], 'Find the mug!': [list(map(int, BOX))]}


def test_a_result_of_another_size_than_its_image_is_broken(tmp_path: Path) -> None:
    bag = Bag(tmp_path / 'bag')
    bag.show(1)
    bag.answer('a', 1)
    bag.answer('a', 1, TRUTH, image_width=2 * WIDTH)
    status, rows, left_out = samples(bag.close())
    assert status == 1 and rows == []
    assert list(left_out.values()) == ['broken annotation: a result of … for an image of …']


@pytest.mark.parametrize(('more', 'message'), [
    (['--results-as-truth', '--truth-topic', '/x'], 'one of them'),
    (['--label', 'the cup'], 'an instruction and its label'),
    (['--images', '/nowhere'], '/nowhere'),
])
def test_what_contradicts_itself_is_refused_in_one_line(
    corrected: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str,
) -> None:
    assert samples(corrected, *more)[0] == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_a_folder_that_is_no_bag_is_refused(tmp_path: Path, capsys) -> None:
    assert samples(tmp_path / 'none')[0] == 2
    assert 'no such folder' in capsys.readouterr().err
