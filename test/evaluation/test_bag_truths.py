"""Truth about a bag from elsewhere: what people annotated on its frames, what other nodes know."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bag_maker import BOX, HEIGHT, WIDTH, Bag
from bag_runs import evaluate, say
from PIL import Image as Picture
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vr_ros.evaluation import cli

ELSEWHERE = (0.0, 0.0, 1.0, 1.0)
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
