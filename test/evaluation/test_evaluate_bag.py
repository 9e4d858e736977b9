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
from PIL import Image as Picture
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import Image
from std_msgs.msg import String
from teller import Teller
from without_ros import ROOT, evaluate_without_ros

from vr_ros.core.types import Source, Status
from vr_ros.evaluation import cli, summary
from vr_ros.evaluation.bags import read_questions
from vr_ros.evaluation.commands import bag as command
from vr_ros.evaluation.datasets.bag import BagSet
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.records import read_records
from vr_ros.msg import Answer, DetectionArray, Instruction, Outcome, Timing

ELSEWHERE = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture
def bag(tmp_path: Path) -> Iterator[Bag]:
    yield Bag(tmp_path / 'bag')


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested elsewhere."""
    monkeypatch.setattr(summary, 'figures', lambda *given, **_: figures(*given, rounds=20))


def evaluate(path: Path, *options: object, make: Any = None) -> tuple[int, dict[str, Any]]:
    """:return: exit code and JSON."""
    out = path.parent / 'out.json'
    given = cli.parser().parse_args(['bag', *map(str, (path, *options, '--json', out))])
    code = command.run(given, make)
    return code, json.loads(out.read_text())


def say(bag: Bag, name: str, stamp: int, text: str, topic: str = '/answer') -> None:
    bag.add(topic, Answer(header=header(stamp, 'front'), answer=text,
                          outcome=Outcome(instruction_id=name, is_final=True)))


def true(bag: Bag, name: str, stamp: int, **more: Any) -> None:
    bag.answer(name, stamp, '/truth/detections', **more)


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


_LINE = '=' * 80
# The fields that are read of vision_msgs 4.1; others come where its definitions have them.
VISION_MSGS = f"""std_msgs/Header header
vision_msgs/Detection2D[] detections
{_LINE}
MSG: vision_msgs/Detection2D
vision_msgs/ObjectHypothesisWithPose[] results
vision_msgs/BoundingBox2D bbox
{_LINE}
MSG: vision_msgs/ObjectHypothesisWithPose
vision_msgs/ObjectHypothesis hypothesis
{_LINE}
MSG: vision_msgs/ObjectHypothesis
string class_id
{_LINE}
MSG: vision_msgs/BoundingBox2D
vision_msgs/Pose2D center
float64 size_x
float64 size_y
{_LINE}
MSG: vision_msgs/Pose2D
vision_msgs/Point2D position
float64 theta
{_LINE}
MSG: vision_msgs/Point2D
float64 x
float64 y
"""


class TestTruthFromElsewhere:
    """What people or other nodes know is as good as what the bag says."""

    @pytest.fixture
    def quiet(self, tmp_path: Path) -> Bag:
        """Make a bag without truth: two frames, three questions about the first."""
        bag = Bag(tmp_path / 'bag')
        bag.show(1, '/camera/image')
        bag.show(2, '/camera/image')
        for name, stamp, boxes in (
                ('the cup', 1, (BOX,)), ('the spoon', 1, ()), ('the cup again', 1, (ELSEWHERE,)),
                ('the cup', 2, (BOX, ELSEWHERE)), ('Find the mug!', 2, (BOX,))):
            bag.answer(f'{name} {stamp}', stamp, instruction_text=name, boxes=boxes,
                       status=0 if boxes else 1)
        return bag

    # Frame 1 shows a cup and no spoon, frame 2 a cup, which the mug is, too.
    EXPECTED = {'instructions': 5, 'answered': 5, 'with known truth': 4, 'right': 3,
                'objects found': 5}

    def export(self, bag: Bag) -> Path:
        out = bag.path.parent / 'frames'
        assert cli.main(['bag', str(bag.path), '--export-images', str(out)]) == 0
        return out

    def test_frames_are_exported_once_with_what_was_asked(
            self, quiet: Bag, capsys: pytest.CaptureFixture[str]) -> None:
        quiet.close()
        out = self.export(quiet)
        names = ['camera_image-1_000000000.png', 'camera_image-2_000000000.png']
        assert sorted(path.name for path in (out / 'images').iterdir()) == names
        for value, name in enumerate(names, 1):
            assert (np.array(Picture.open(out / 'images' / name)) == value).all()
        assert [label['name'] for label in json.loads((out / 'labels.json').read_text())] == [
            'the cup', 'the spoon', 'the cup again', 'Find the mug!']
        lines = [json.loads(line) for line in (out / 'questions.jsonl').read_text().splitlines()]
        assert [(line['instruction'], line['image']) for line in lines][3:] == [
            ('the cup', f'images/{names[1]}'), ('Find the mug!', f'images/{names[1]}')]
        assert cli.main(['bag', str(quiet.path), '--export-images', str(out)]) == 2
        assert 'exists: name another folder' in capsys.readouterr().err

    def test_annotations_as_coco(self, quiet: Bag) -> None:
        quiet.close()
        names = sorted(path.name for path in (self.export(quiet) / 'images').iterdir())
        x, y, right, bottom = BOX
        path = quiet.path.parent / 'annotations.json'
        path.write_text(json.dumps({
            'images': [{'id': i, 'file_name': f'default/{name}', 'width': WIDTH, 'height': HEIGHT}
                       for i, name in enumerate(names)],
            'categories': [{'id': 7, 'name': 'The cup'}, {'id': 8, 'name': 'the spoon'}],
            'annotations': [{'id': i, 'image_id': i, 'category_id': 7,
                             'bbox': [x, y, right - x, bottom - y]} for i in (0, 1)]}))
        code, content = evaluate(quiet.path, '--truth', path, '--label', 'find the mug=The cup')
        totals = content['bag']['totals']
        assert code == 0 and {name: totals[name] for name in self.EXPECTED} == self.EXPECTED
        assert content['bag']['kinds']['absence']['right'] == 1
        again = evaluate(quiet.path, '--truth', path)[1]       # without the label of the mug
        assert again['bag']['totals']['with known truth'] == 3
        assert again['dataset'] != content['dataset']

    def test_annotations_as_yolo(self, quiet: Bag) -> None:
        quiet.close()
        names = sorted(path.stem for path in (self.export(quiet) / 'images').iterdir())
        x, y, right, bottom = np.array(BOX) / [WIDTH, HEIGHT, WIDTH, HEIGHT]
        root = quiet.path.parent / 'yolo'
        (root / 'labels' / 'train').mkdir(parents=True)
        (root / 'data.yaml').write_text('names: {0: the spoon, 1: the cup}\n')
        for name in names:
            (root / 'labels' / 'train' / f'{name}.txt').write_text(
                f'1 {(x + right) / 2} {(y + bottom) / 2} {right - x} {bottom - y}\n')
        code, content = evaluate(quiet.path, '--truth', root, '--label', 'find the mug=the cup')
        totals = content['bag']['totals']
        assert code == 0 and {name: totals[name] for name in self.EXPECTED} == self.EXPECTED

    def test_annotations_as_cvat(self, quiet: Bag) -> None:
        quiet.close()
        names = sorted(path.name for path in (self.export(quiet) / 'images').iterdir())
        left, top, right, bottom = BOX
        shape = f'<box label="the cup" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"/>'
        images = ''.join(f'<image id="{i}" name="{name}" width="{WIDTH}" height="{HEIGHT}">'
                         f'{shape}</image>' for i, name in enumerate(names))
        path = quiet.path.parent / 'annotations.xml'
        path.write_text(
            '<annotations><version>1.1</version><meta><job><labels><label><name>the cup</name>'
            '</label><label><name>the spoon</name></label></labels></job></meta>'
            f'{images}</annotations>')
        code, content = evaluate(quiet.path, '--truth', path, '--label', 'find the mug=the cup')
        totals = content['bag']['totals']
        assert code == 0 and {name: totals[name] for name in self.EXPECTED} == self.EXPECTED

    def test_annotations_of_something_else_are_refused(
            self, quiet: Bag, capsys: pytest.CaptureFixture[str]) -> None:
        quiet.close()
        path = quiet.path.parent / 'annotations.json'
        content = {
            'images': [{'id': 1, 'file_name': 'camera_image-1_000000000.png'}],
            'categories': [{'id': 7, 'name': 'a fork'}],
            'annotations': [{'id': 1, 'image_id': 1, 'category_id': 7, 'bbox': [1, 1, 1, 1]}]}
        for image, words in (('camera_image-1_000000000.png', 'none of its labels (a fork)'),
                             ('other.png', 'none of its images (other)')):
            content['images'][0]['file_name'] = image
            path.write_text(json.dumps(content))
            assert cli.main(['bag', str(quiet.path), '--truth', str(path)]) == 2
            assert words in capsys.readouterr().err
        assert cli.main(['bag', str(quiet.path), '--truth', str(path), '--label', 'x=y']) == 2
        assert "no label 'y'; there are a fork" in capsys.readouterr().err

    def test_an_annotation_that_cannot_be_used_costs_its_samples(self, quiet: Bag) -> None:
        quiet.close()
        path = quiet.path.parent / 'annotations.json'
        path.write_text(json.dumps({
            'images': [{'id': i, 'file_name': f'camera_image-{i}_000000000.png',
                        'width': WIDTH * i, 'height': HEIGHT} for i in (1, 2)],
            'categories': [{'id': 7, 'name': 'the cup'}],
            'annotations': [{'id': i, 'image_id': i, 'category_id': 7, 'bbox': [1, 1, 1, 1]}
                            for i in (1, 2)]}))
        code, content = evaluate(quiet.path, '--truth', path)
        assert code == 1 and content['answered'] == 4
        assert content['skipped'] == [{
            'id': 'the cup 2//0', 'reason': 'an image of 6x4, stated to be 12x4'}]

    def test_truth_on_a_topic_of_ones_own(self, quiet: Bag) -> None:
        """Made by a node that knows nothing of instructions' ids."""
        # No answers of the node, and not the truth that was asked for.
        quiet.answer('the cup 1', 1, '/truth/detections', instruction_text='the cup')
        for name, stamp in (('the cup', 1), ('the cup', 2), ('Find the mug!', 2)):
            quiet.answer('', stamp, '/objects', instruction_text=name)
        quiet.answer('', 1, '/objects', instruction_text='the spoon', boxes=(), status=1)
        code, content = evaluate(quiet.close(), '--truth-topic', '/objects')
        totals = content['bag']['totals']
        assert code == 0 and {name: totals[name] for name in self.EXPECTED} == self.EXPECTED


    def test_answers_in_words_lie_beside(self, quiet: Bag) -> None:
        quiet.answer('seen', 2, instruction_text='which colour?', boxes=(), task=4)
        say(quiet, 'seen', 2, 'red')
        quiet.answer('seen', 2, '/gt/detections', boxes=(), task=4)
        say(quiet, 'seen', 2, 'Red', '/gt/answer')
        code, content = evaluate(quiet.close(), '--truth-topic', '/gt/detections')
        assert code == 0 and content['bag']['kinds']['vqa']['right'] == 1

    def test_truth_as_vision_msgs(self, quiet: Bag) -> None:
        """Such as Isaac Sim and Gazebo publish: all that is there, by class."""
        kind = 'vision_msgs/msg/Detection2DArray'
        store = get_typestore(Stores.ROS2_JAZZY)
        store.register(get_types_from_msg(VISION_MSGS, kind))
        definition, _ = store.generate_msgdef(kind, ros_version=2)
        types = {name.rpartition('/')[2]: kind for name, kind in store.types.items()}
        x_min, y_min, x_max, y_max = BOX
        for stamp, theta in ((1, 0.0), (2, 0.0), (3, 0.1)):
            stamped = types['Header'](types['Time'](stamp, 0), 'front')
            center = types['Pose2D'](types['Point2D']((x_min + x_max) / 2, (y_min + y_max) / 2),
                                     theta)
            quiet.add_bytes('/objects', kind, definition, bytes(store.serialize_cdr(
                types['Detection2DArray'](stamped, [types['Detection2D'](
                    [types['ObjectHypothesisWithPose'](types['ObjectHypothesis']('cup'))],
                    types['BoundingBox2D'](center, x_max - x_min, y_max - y_min))]), kind)))
        labels = [f'{text}=cup' for text in ('the cup', 'find the mug')]
        code, content = evaluate(
            quiet.close(), '--truth-topic', '/objects',
            *(word for label in labels for word in ('--label', label)))
        totals = content['bag']['totals']
        # Nobody has a word for spoons: whether one is there is not known.
        assert {name: totals[name] for name in self.EXPECTED} == self.EXPECTED | {
            'with known truth': 3, 'right': 2}
        assert code == 1 and 'turned by 0.1' in content['bag']['problems'][0]


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
    from vr_ros.evaluation import bag_index
    for kind in (DetectionArray, Answer, Instruction):
        assert f'vr_ros/msg/{kind.__name__}' in (
            bag_index.RESULTS, bag_index.ANSWERS, bag_index.INSTRUCTIONS)
