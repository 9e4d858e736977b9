"""The report: complete, self-contained, and safe whatever the texts hold."""
from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Detection, Perception, Size, Status, Task
from vr_ros.evaluation.overlay import colour, mask_layer
from vr_ros.evaluation.report import Case, Report, Truth, write_report

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} \u202e'


def found(box, index=0, mask=None):
    return Detection(index, box, (box[0] + 1, box[1] + 1), mask=mask)


def perception(status=Status.OK, detections=(), answer='', task=Task.DETECTION):
    return Perception(status, task, tuple(detections), answer=answer, reasoning='because')


@pytest.mark.parametrize(('case', 'right'), [
    (Case('x', perception(detections=[found((0, 0, 10, 10))])), None),     # truth unknown
    (Case('x', perception(detections=[found((0, 0, 10, 10))]),
          truth=Truth(Task.DETECTION, (found((0, 0, 10, 9)),))), True),
    (Case('x', perception(detections=[found((0, 0, 10, 10))] * 2),
          truth=Truth(Task.DETECTION, (found((0, 0, 10, 9)),))), False),   # one too many
    (Case('x', perception(detections=[found((50, 50, 60, 60))]),
          truth=Truth(Task.DETECTION, (found((0, 0, 10, 9)),))), False),   # another place
    (Case('x', perception(Status.NO_OBJECT), truth=Truth(Task.COUNTING)), True),
    (Case('x', perception(Status.TIMEOUT), truth=Truth(Task.COUNTING)), False),
    (Case('x', perception(answer='Red.', task=Task.VQA), truth=Truth(Task.VQA, answer='red')),
     True),
])
def test_verdict(case, right):
    assert case.is_right is right


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text = [], [], ''

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ('href', 'src')]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(tmp_path):
    image = np.full((48, 64, 3), 90, np.uint8)
    mask = np.zeros((48, 64), bool)
    mask[10:20, 5:25] = True
    cases = [
        Case(HOSTILE, Perception(Status.OK, Task.DETECTION, (found((5, 10, 25, 20), 0,
             mask_to_rle(mask)),), reasoning=HOSTILE), image, Truth(Task.DETECTION, (
                 found((5, 10, 25, 20)),)), 'topic'),
        Case('what?', perception(answer=HOSTILE, task=Task.VQA), image),
        Case('late', Perception(Status.NO_IMAGE, status_message=HOSTILE)),
    ]
    report = Report('Demo', cases, {'seed': 7, 'odd': HOSTILE})
    write_report(report, tmp_path / 'index.html')
    parsed = Tags()
    parsed.feed((tmp_path / 'index.html').read_text())
    return report, parsed


def test_hostile_text_stays_text(page):
    _, parsed = page
    assert 'script' not in parsed.tags and 'img' not in parsed.tags
    assert parsed.text.count('<script>alert(1)</script>') == 5
    assert '{{ 7*7 }}' in parsed.text


def test_nothing_is_loaded_from_elsewhere(page):
    _, parsed = page
    assert parsed.links and all(link.startswith('data:image/') for link in parsed.links)
    assert not {'link', 'iframe', 'object', 'embed'} & set(parsed.tags)


def test_each_case_and_box_is_drawn(page):
    report, parsed = page
    assert parsed.tags.count('article') == 3
    assert parsed.tags.count('rect') == 2  # one found, one true
    assert report.totals() == {
        'instructions': 3, 'answered': 2, 'with known truth': 1, 'right': 1, 'objects found': 1}


def test_pictures_decode_to_the_size_of_the_image(page):
    _, parsed = page
    for link in parsed.links:
        data = np.frombuffer(base64.b64decode(re.split(',', link, maxsplit=1)[1]), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_UNCHANGED).shape[:2] == (48, 64)


def test_the_mask_layer_covers_the_mask_alone():
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:15] = True
    layer = mask_layer([found((4, 3, 15, 9), 2, mask_to_rle(mask))], Size(30, 20))
    assert ((layer[..., 3] > 0) == mask).all()
    assert tuple(layer[3, 4, :3]) == colour(2) and layer[3, 4, 3] == 255  # outline
    assert layer[6, 9, 3] < 255
