"""``evaluate bag`` from files to figures and exit codes: the answers of then, and new ones."""
from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_maker import BOX, HEIGHT, WIDTH, Bag, header
from bag_runs import evaluate, say, true
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import Image
from std_msgs.msg import String
from teller import Teller
from without_ros import ROOT, evaluate_without_ros

from vr_ros.bags.questions import read_questions
from vr_ros.core.types import Source, Status
from vr_ros.evaluation import cli
from vr_ros.evaluation.bags.bag_set import BagSet
from vr_ros.evaluation.runs.records import read_records
from vr_ros.msg import Answer, DetectionArray, Instruction, Outcome, Timing

ELSEWHERE = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture
def bag(tmp_path: Path) -> Iterator[Bag]:
    yield Bag(tmp_path / 'bag')


def fill(bag: Bag) -> Bag:
    """Record one of everything: three right answers of six with known truth, and more."""
    times = {}
    for stamp in range(1, 9):
        bag.show(stamp)
    for stamp, (name, task, boxes, true_boxes) in enumerate((
            ('right', 1, (BOX,), (BOX,)), ('elsewhere', 1, (ELSEWHERE,), (BOX,)),
            ('counted', 3, (ELSEWHERE, BOX), (BOX, BOX)), ('one more', 2, (BOX, ELSEWHERE), (BOX,)),
            ('absent', 1, (), ()), ('said', 4, (), ())), 1):
        times[name] = 10.0 * stamp
        bag.answer(name, stamp, task=task, boxes=boxes, model_id='then',
                   status=0 if boxes or task == 4 else 1, timing=Timing(total_ms=times[name]))
        true(bag, name, stamp, task=task, boxes=true_boxes,
             status=0 if true_boxes or task == 4 else 1)
    say(bag, 'said', 6, 'Red.')
    say(bag, 'said', 6, 'blue', '/truth/answer')
    bag.answer('unknown', 7, model_id='then', timing=Timing(total_ms=70.0))
    bag.add('/instruction', Instruction(id='late', text='too late', task=3))
    bag.answer('late', 0, boxes=(), status=int(Status.TIMEOUT), task=3)
    for stamp in (7, 8):
        bag.answer('right', stamp, source=int(Source.TRACKED), sequence=stamp)
        bag.add('/answer', Answer(header=header(stamp, 'front'), outcome=Outcome(
            instruction_id='right', is_final=True, source=Outcome.TRACKED)))
    bag.answer('right', 8, is_final=False)
    bag.answer('said', 6, '/perception/last_result', boxes=(), task=4, model_id='then')
    bag.add('/perception/active_instruction', Instruction(id='by action', text='never answered'))
    return bag


def test_the_answers_of_then(bag: Bag) -> None:
    code, content = evaluate(fill(bag).close())
    assert content['bag']['totals'] == {
        'instructions': 9, 'answered': 7, 'with known truth': 6, 'right': 3, 'objects found': 7,
        'median_ms': statistics.median([10, 20, 30, 40, 50, 60, 70])}
    kinds = {kind: (c['instructions'], c['answered'], c['right'])
             for kind, c in content['bag']['kinds'].items()}
    assert kinds == {'detection': (3, 3, 1), 'segmentation': (1, 1, 0), 'absence': (1, 1, 1),
                     'counting': (2, 1, 1), 'vqa': (1, 1, 0), 'auto': (1, 0, 0)}
    # Nobody answered: that is neither left out nor right.
    assert content['bag']['unanswered'] == ['by action']
    assert content['statuses'] == {'OK': 6, 'NO_OBJECT': 1, 'TIMEOUT': 2} and code == 1
    assert content['bag']['left out'] == {
        'result of the tracker': 2, 'part of a result': 1, 'result that came twice': 1}
    assert (content['model'], content['skipped'], content['answered']) == ('then', [], 9)
    found = {figure['name']: figure for figure in content['figures']}
    assert found['VQA exact']['value'] == 0 and found['VQA exact']['of'] == 1
    assert found['box recall@0.5']['value'] == pytest.approx(3 / 5)
    assert found['errors']['value'] == pytest.approx(2 / 9)
    # By the clock of then: the timeout took no time that anybody knows of.
    assert found['latency p50']['value'] == pytest.approx(35.0)
    assert found['latency p50']['of'] == 8


def test_the_page_and_the_tables_say_what_the_screen_says(
        bag: Bag, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = fill(bag).close(), bag.path.parent
    file = path / 'bag_0.mcap'
    file.write_bytes(file.read_bytes()[:-10])                 # the end mark
    evaluate(path, '--html', out / 'page.html', '--markdown', out / 'tables.md')
    page, tables = (out / 'page.html').read_text(), (out / 'tables.md').read_text()
    screen = ' '.join(capsys.readouterr().out.split())
    for line in ('no result in the bag, counted as TIMEOUT: 1 instructions',
                 'left out: 2 × result of the tracker', 'problem: bag_0.mcap was cut off'):
        assert line in screen and line in page and line in re.sub(r'\\(.)', r'\1', tables)
    assert page.count('data:image/jpeg') == 9                 # the pictures of the cases


def test_without_truth_all_but_accuracy_is_there(
        bag: Bag, capsys: pytest.CaptureFixture[str]) -> None:
    bag.show(1)
    bag.answer('a', 1, timing=Timing(total_ms=5.0))
    bag.answer('b', 1, status=int(Status.PARSE_ERROR), boxes=())
    code, content = evaluate(bag.close())
    assert code == 0 and 'accuracy needs --truth' in ' '.join(capsys.readouterr().out.split())
    totals = content['bag']['totals']
    assert (totals['with known truth'], totals['right'], totals['answered']) == (0, 0, 1)
    found = {figure['name']: figure['value'] for figure in content['figures']}
    assert found['parse failures'] == 0.5 and found['latency mean'] == 2.5
    assert not {'gIoU', 'box recall@0.5', 'exact count', 'VQA exact'} & found.keys()


@pytest.mark.parametrize('options', [(), ('--processes', 2)])
def test_a_model_is_asked_again_about_the_same_images(bag: Bag, options: tuple[object]) -> None:
    code, content = evaluate(
        fill(bag).close(), '--reperceive', '--records', bag.path.parent, *options, make=Teller())
    assert code == 0 and content['model'].startswith('sim_tiny ')
    assert content['statuses'] == {'OK': 9} and content['bag']['unanswered'] == []
    records = {r.sample_id: r for r in read_records(Path(content['records'])).answered}
    # Stamps are brightness; what is about no image is asked about the newest one.
    seen = {name.split('/')[0]: record.found.boxes[0, 0] for name, record in records.items()}
    assert seen == {'right': 1, 'elsewhere': 2, 'counted': 3, 'one more': 4, 'absent': 5,
                    'said': 6, 'unknown': 7, 'late': 8, 'by action': 8}
    assert records['late//0'].found.answer == 'COUNTING'
    # The box of stamp 2 covers half of the true one, which is enough.
    assert content['bag']['totals']['right'] == 2


def test_records_go_on_and_another_way_is_refused(
        bag: Bag, capsys: pytest.CaptureFixture[str]) -> None:
    path, records = fill(bag).close(), bag.path.parent / 'records'
    first = evaluate(path, '--records', records)[1]
    file = Path(first['records'])
    assert file.name == 'bag-recorded-then.jsonl'
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b''.join(lines[:4]))
    again = evaluate(path, '--records', records)[1]
    assert again['bag'] == first['bag'] and file.read_bytes().count(b'\n') == len(lines)
    limited = evaluate(path, '--limit', 2)[1]
    assert limited['bag']['totals']['instructions'] == limited['samples'] == 2
    assert cli.main(['bag', str(path), '--records', str(records), '--images', '/image']) == 2
    assert 'images: [] then' in capsys.readouterr().err


@pytest.mark.parametrize('truth', [False, True])
def test_a_report_of_the_records_finds_the_pictures_in_the_bag(
        bag: Bag, capsys: pytest.CaptureFixture[str], truth: bool) -> None:
    path, out = fill(bag).close(), bag.path.parent
    labels = out / 'labels.json'
    labels.write_text(json.dumps({
        'images': [{'id': 1, 'file_name': 'image-1_000000000.png'}],
        'categories': [{'id': 1, 'name': 'text of right'}], 'annotations': [
            {'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 2, 2]}]}))
    given = ('--truth', labels) if truth else ()
    _, content = evaluate(path, *given, '--records', out / 'kept', '--html', out / 'then.html')
    assert ('truth: ' in content['dataset']) == truth
    records = content['records']
    assert report(records, path, out / 'again.html') == 0
    pictures = [(out / name).read_text().count('data:image/jpeg')
                for name in ('then.html', 'again.html')]
    assert pictures[0] == pictures[1] > 5
    (path / 'more').write_text('x')                           # no longer what it was
    assert report(records, path, out / 'later.html') == 2
    assert 'records of ' in capsys.readouterr().err


def report(records: str, path: Path, page: Path) -> int:
    """:return: exit code, 0 for one that is 1 because of the answers."""
    code = cli.main(['report', records, '--dataset', str(path), '--html', str(page)])
    return 0 if code == 1 else code


def test_images_are_read_one_by_one(bag: Bag, monkeypatch: pytest.MonkeyPatch) -> None:
    data_set = BagSet(read_questions(fill(bag).close()))
    monkeypatch.setattr(type(data_set.questions.bag), 'messages', None)    # not again
    order = list(range(len(data_set.ids)))
    for place in (*order, *reversed(order)):
        item = data_set.questions.items[place]
        assert (data_set.load(place).image == item.picture.stamp.sec).all()


class TestBadInput:
    """Each is named, and the rest evaluated."""

    @pytest.mark.parametrize('share', [0.3, 0.6, 0.95])
    def test_a_bag_that_was_cut_off(
            self, tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]) -> None:
        bag = Bag(tmp_path / 'bag')
        for stamp in range(1, 31):
            bag.show(stamp)
            bag.answer(f'{stamp}', stamp)
            true(bag, f'{stamp}', stamp)
            bag.flush()
        file = bag.close() / 'bag_0.mcap'
        content = file.read_bytes()
        file.write_bytes(content[:int(len(content) * share)])
        (bag.path / 'metadata.yaml').unlink()             # a crash leaves none
        code, found = evaluate(bag.path, '--reperceive', make=Teller())
        totals = found['bag']['totals']
        assert code == 1 and 0 < totals['instructions'] <= 30
        assert totals['instructions'] == totals['answered'] == totals['with known truth']
        assert 'bag_0.mcap was cut off' in found['bag']['problems'][0]
        assert 'metadata.yaml is missing' in found['bag']['notes'][0]
        assert 'was cut off' in capsys.readouterr().out

    def test_topics_of_another_type(self, bag: Bag, capsys: pytest.CaptureFixture[str]) -> None:
        bag.show(1)
        bag.answer('a', 1)
        bag.add('/truth/detections', String(data='the cup is on the left'))
        code, content = evaluate(bag.close())
        assert code == 1 and content['bag']['totals']['answered'] == 1
        assert content['bag']['problems'] == [
            '/truth/detections is std_msgs/msg/String, not vr_ros/msg/DetectionArray: not read']
        assert '/truth/detections is std_msgs/msg/String' in capsys.readouterr().out

    def test_detections_of_somebody_else(self, bag: Bag) -> None:
        bag.show(1)
        bag.add('/detections', String(data='of another detector'))
        bag.add('/instruction', Instruction(id='a', text='find the cup'))
        code, content = evaluate(bag.close())
        assert code == 1 and content['bag']['unanswered'] == ['a']
        assert content['bag']['notes'] == [
            '/detections is std_msgs/msg/String, not vr_ros/msg/DetectionArray: not read']
        # Which is nothing to a model that is asked again.
        assert evaluate(bag.path, '--reperceive', make=Teller())[0] == 0

    def test_an_image_that_cannot_be_decoded(
            self, bag: Bag, capsys: pytest.CaptureFixture[str]) -> None:
        bag.show(1)
        bag.add('/image', Image(header=header(2, 'front'), height=99, width=99, encoding='rgb8'))
        bag.show(3)
        for stamp in (1, 2, 3):
            bag.answer(f'{stamp}', stamp)
        bag.answer('gone', 4)
        code, content = evaluate(bag.close(), '--reperceive', make=Teller())
        skipped = {entry['id']: entry['reason'] for entry in content['skipped']}
        assert code == 1 and content['answered'] == 2
        assert skipped.keys() == {'2//0', 'gone//0'}
        assert 'broken image: step 0 is less than' in skipped['2//0']
        assert skipped['gone//0'] == 'its image is not in the bag'
        assert 'skipped 2//0: broken image' in capsys.readouterr().out
        # The answers of then need no image.
        assert evaluate(bag.path)[0] == 0

    def test_messages_that_cannot_be_read(self, bag: Bag) -> None:
        bag.show(1)
        bag.answer('a', 1)
        bag.answer('b', 1, status=77)                     # no status of ours
        bag.add_bytes('/image', 'sensor_msgs/msg/Image', '', b'\0\1\0\0cut')
        bag.add_bytes('/answer', 'vr_ros/msg/Answer', 'string nothing_of_ours',
                      b'\0\1\0\0\2\0\0\0x\0')
        code, content = evaluate(bag.close())
        assert code == 1 and content['bag']['totals']['instructions'] == 1
        first, second, third = sorted(content['bag']['problems'])
        assert first.startswith('/answer: 1 × cannot be read: AttributeError')
        assert second == '/detections: 1 × cannot be read: ValueError: 77 is not a valid Status'
        assert third.startswith('/image: 1 × cannot be read: the message ends')

    @pytest.mark.parametrize(('options', 'words'), [
        (['nowhere'], 'no such folder or file'),
        (['EMPTY'], 'neither .mcap nor .db3 files'),
        (['SILENT'], 'no instructions and no results'),
        (['NOISE'], 'no instructions and no results of a perception node in it; bag_0.mcap was'),
        (['BAG', '--images', '/imag'], 'no topic /imag, is it /image?'),
        (['BAG', '--images', '/detections'], '/detections is vr_ros/msg/DetectionArray, not'),
        (['BAG', '--truth-topic', '/nothing_of_this'], 'no topic /nothing_of_this; of its type: '),
        (['BAG', '--truth-topic', '/image'], '/image is sensor_msgs/msg/Image, not vr_ros/msg/'),
        (['BAG', '--truth', 'nowhere'], 'nowhere: no such folder or file'),
        (['BAG', '--truth', 'LINES.jsonl'], 'annotations of frames are COCO JSON, CVAT XML or'),
        (['BAG', '--truth', 'x', '--truth-topic', '/image'], 'one of them'),
        (['BAG', '--label', 'a=b'], '--label needs --truth, or'),
        (['BAG', '--label', 'find'], 'an instruction and its label'),
        (['BAG', '--reperceive', '--model', 'nobody'], 'unknown model card "nobody"'),
        (['BAG', '--limit', '0'], 'at least 1'),
    ])
    def test_bad_usage_is_one_line(
            self, bag: Bag, tmp_path: Path, capsys: pytest.CaptureFixture[str],
            options: list[str], words: str) -> None:
        (tmp_path / 'EMPTY').mkdir()
        (tmp_path / 'NOISE').mkdir()
        (tmp_path / 'NOISE' / 'bag_0.mcap').write_bytes(b'no mcap at all')
        (tmp_path / 'LINES.jsonl').write_text('{"id": 1}\n')
        silent = Bag(tmp_path / 'SILENT')
        silent.show(1)
        silent.close()
        fill(bag).close()
        given = [str(tmp_path / word.replace('BAG', 'bag')) if word in (
            'BAG', 'EMPTY', 'SILENT', 'NOISE', 'LINES.jsonl') else word for word in options]
        assert cli.main(['bag', *given]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count('\n') == 1


def test_the_definitions_of_the_bag_count_and_no_ros_is_needed(tmp_path: Path) -> None:
    """A bag of another version, whose messages have more fields, in another place."""
    texts = {f'vr_ros/msg/{path.stem}': path.read_text() for path in (ROOT / 'msg').glob('*.msg')}
    outcome = texts['vr_ros/msg/Outcome']
    texts['vr_ros/msg/Outcome'] = f'string robot\n{outcome}\nfloat64[] added\n'
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for name, text in texts.items():
        types |= get_types_from_msg(text, name)
    store.register(types)
    kind = 'vr_ros/msg/DetectionArray'
    definition, _ = store.generate_msgdef(kind, ros_version=2)
    bag = Bag(tmp_path / 'bag')
    for topic, box in (('/detections', BOX), ('/truth/detections', BOX)):
        bag.add_bytes(topic, kind, definition, bytes(store.serialize_cdr(
            _result(store, box), kind)))
    out = tmp_path / 'out.json'
    done = evaluate_without_ros('bag', bag.close(), '--json', out)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())['bag']['totals']['right'] == 1


def _result(store: Any, box: tuple[float, ...]) -> Any:
    """Fill in a result of the other version: zeros but for what is given."""
    def make(name: str, **given: Any) -> Any:
        fields = store.get_msgdef(name).fields
        return store.types[name](**{field: given.get(field, zero(description))
                                    for field, description in fields})

    def zero(description: Any) -> Any:
        node, content = description
        if node.name == 'BASE':
            return '' if content[0] == 'string' else 0
        if node.name == 'NAME':
            return make(content)
        return np.zeros(0, content[0][1][0]) if content[0][0].name == 'BASE' else []

    stamp = store.types['builtin_interfaces/msg/Time'](5, 6)
    x_min, y_min, x_max, y_max = box
    return make(
        'vr_ros/msg/DetectionArray', count=1,
        header=store.types['std_msgs/msg/Header'](stamp, 'front'),
        outcome=make('vr_ros/msg/Outcome', robot='r2', instruction_id='a', task=1, is_final=True,
                     image_width=WIDTH, image_height=HEIGHT, added=np.ones(3)),
        detections=[make('vr_ros/msg/Detection', x_min=x_min, y_min=y_min, x_max=x_max,
                         y_max=y_max)])


def test_two_nodes_that_answer_one_instruction_are_told_apart(bag: Bag) -> None:
    bag.show(1)
    true(bag, 'a', 1)
    bag.answer('a', 1, model_id='one')
    bag.answer('a', 1, '/other/detections', boxes=(ELSEWHERE,), model_id='two')
    _, content = evaluate(bag.close(), '--records', bag.path.parent)
    assert content['model'] == 'one, two' and content['bag']['totals']['right'] == 1
    assert {r.sample_id for r in read_records(Path(content['records'])).answered} == {
        '/detections a//0', '/other/detections a//0'}


def test_messages_are_those_that_the_evaluation_reads() -> None:
    """The table of names that it expects holds for the interfaces as they are built."""
    from vr_ros.bags import index as bag_index
    for kind in (DetectionArray, Answer, Instruction):
        assert f'vr_ros/msg/{kind.__name__}' in (
            bag_index.RESULTS, bag_index.ANSWERS, bag_index.INSTRUCTIONS)
