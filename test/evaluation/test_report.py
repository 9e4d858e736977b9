"""The report: complete, self-contained, and safe whatever the texts hold."""
from __future__ import annotations

import base64
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from html_page import Page

from vr_ros.core.palette import colour
from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Detection, Perception, Size, Status, Task, Timing
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.pages.demo_page import Case, Report, write_report
from vr_ros.evaluation.pages.overlay import mask_layer

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} \u202e'


def found(box, index=0, mask=None):
    return Detection(index, box, (box[0] + 1, box[1] + 1), mask=mask)


def perception(status=Status.OK, detections=(), answer='', task=Task.DETECTION):
    return Perception(status, task, tuple(detections), answer=answer, reasoning='because')


def true(task, detections=(), answer=''):
    status = Status.OK if detections or answer else Status.NO_OBJECT
    return Truth.from_perception(perception(status, detections, answer, task))


@pytest.mark.parametrize(('case', 'right'), [
    (Case('x', perception(detections=[found((0, 0, 10, 10))])), None),     # truth unknown
    (Case('x', perception(detections=[found((0, 0, 10, 10))]),
          truth=true(Task.DETECTION, (found((0, 0, 10, 9)),))), True),
    (Case('x', perception(detections=[found((0, 0, 10, 10))] * 2),
          truth=true(Task.DETECTION, (found((0, 0, 10, 9)),))), False),   # one too many
    (Case('x', perception(detections=[found((50, 50, 60, 60))]),
          truth=true(Task.DETECTION, (found((0, 0, 10, 9)),))), False),   # another place
    (Case('x', perception(Status.NO_OBJECT), truth=true(Task.COUNTING)), True),
    (Case('x', perception(Status.TIMEOUT), truth=true(Task.COUNTING)), False),
    (Case('x', perception(Status.TIMEOUT), truth=true(Task.DETECTION)), False),
    (Case('x', perception(detections=[found((50, 50, 60, 60))], task=Task.COUNTING),
          truth=true(Task.COUNTING, (found((0, 0, 10, 9)),))), True),     # the number counts
    (Case('x', perception(answer='red', task=Task.VQA), truth=true(Task.VQA, answer='blue')),
     False),
    (Case('x', perception(answer='Red.', task=Task.VQA), truth=true(Task.VQA, answer='red')),
     True),
])
def test_verdict(case, right):
    assert case.is_right is right


def write(tmp_path, *cases, **facts):
    report = Report('Demo', cases, facts)
    write_report(report, tmp_path / 'index.html')
    return report, Page(tmp_path / 'index.html')


@pytest.fixture
def page(tmp_path):
    image = np.full((48, 64, 3), 90, np.uint8)
    mask = np.zeros((48, 64), bool)
    mask[10:20, 5:25] = True
    labelled = replace(found((5, 10, 25, 20), 0, mask_to_rle(mask)), label=HOSTILE)
    truth = true(Task.DETECTION, (replace(found((5, 10, 25, 20)), label=HOSTILE),))
    return write(
        tmp_path,
        Case(HOSTILE, Perception(Status.OK, Task.DETECTION, (labelled,), reasoning=HOSTILE),
             image, truth, HOSTILE, HOSTILE),
        Case('what?', perception(answer=HOSTILE, task=Task.VQA), image,
             true(Task.VQA, answer=HOSTILE)),
        Case('late', Perception(Status.NO_IMAGE, status_message=HOSTILE)), odd=HOSTILE)


def test_hostile_text_stays_text(page):
    _, parsed = page
    assert not {'script', 'img'} & set(parsed.tags)
    assert not [name for name in parsed.names if name.startswith('on')]
    # Instruction, way, kind, label, truth's label, reasoning, two answers, message, fact.
    assert parsed.text.count('<script>alert(1)</script>') == 10
    assert parsed.text.count('{{ 7*7 }}') == 10


def test_nothing_is_loaded_from_elsewhere(page):
    _, parsed = page
    assert parsed.links and all(link.startswith('data:image/') for link in parsed.links)
    assert not {'link', 'iframe', 'object', 'embed'} & set(parsed.tags)


def test_each_case_and_box_is_drawn(page):
    report, parsed = page
    assert parsed.tags.count('article') == 3
    assert parsed.tags.count('rect') == 2    # one found, one true
    assert parsed.tags.count('circle') == 2  # its number and its point
    assert report.totals() == {
        'instructions': 3, 'answered': 2, 'with known truth': 2, 'right': 2, 'objects found': 1}
    assert 'no image took part' in parsed.text


def test_pictures_decode_to_the_size_of_the_image(page):
    _, parsed = page
    assert len(parsed.links) == 3            # two photographs, one layer of masks
    for link in parsed.links:
        data = np.frombuffer(base64.b64decode(re.split(',', link, maxsplit=1)[1]), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_UNCHANGED).shape[:2] == (48, 64)


@pytest.mark.parametrize(('detections', 'truth', 'words'), [
    ([(0, 0, 10, 10)], [(0, 0, 10, 10)], '1 object 1 of 1 hit truth 1 object'),
    ([(0, 0, 10, 10), (50, 0, 60, 9)], [(0, 0, 10, 9)], '2 objects 1 of 1 hit, 1 elsewhere'),
    ([], [(0, 0, 10, 10)], 'no objects 0 of 1 hit truth 1 object'),
    ([], [], 'no objects rightly so truth no objects'),
    ([(0, 0, 10, 10)], [], '1 object 1 where nothing is truth no objects'),
])
def test_found_and_true_are_compared_in_words(tmp_path, detections, truth, words):
    status = Status.OK if detections else Status.NO_OBJECT
    _, parsed = write(tmp_path, Case(
        'x', perception(status, [found(box, i) for i, box in enumerate(detections)]),
        truth=true(Task.DETECTION, tuple(found(box) for box in truth))))
    assert words in parsed.text


def test_a_mask_that_misses_the_object_is_wrong_and_named(tmp_path):
    corner = np.zeros((48, 64), bool)
    whole = corner.copy()
    corner[:3, :3], whole[:10, :10] = True, True
    truth, answer = (perception(detections=[found((0, 0, 10, 10), mask=mask_to_rle(mask))])
                     for mask in (whole, corner))
    case = Case('x', answer, truth=Truth.from_perception(truth))
    assert case.is_right is False
    assert '1 of 1 hit, IoU of masks 0.09' in write(tmp_path, case)[1].text


def test_labels_of_the_truth_are_counted(tmp_path):
    cups = [replace(found((0, 0, 9, 9)), label=label) for label in ('cup', 'mug', 'cup')]
    _, parsed = write(tmp_path, Case('x', perception(), truth=true(Task.COUNTING, tuple(cups))))
    assert '3 objects 2 × cup, mug' in parsed.text


def test_the_time_is_divided_without_rest(tmp_path):
    timing = Timing(queue_ms=100, preprocess_ms=50, generate_ms=300, total_ms=500)
    write(tmp_path, Case('x', replace(perception(), timing=timing)))
    widths = re.findall(r'width:([\d.]+)%;background', (tmp_path / 'index.html').read_text())
    assert [float(width) for width in widths] == [20.0, 10.0, 60.0, 10.0]


def test_the_median_leaves_errors_out():
    cases = [Case('x', Perception(status, timing=Timing(total_ms=ms))) for status, ms in (
        (Status.OK, 1.0), (Status.TIMEOUT, 9000.0), (Status.NO_OBJECT, 3.0))]
    assert Report('x', cases).median_ms == 2.0
    assert Report('x', cases[1:2]).median_ms is None


def test_a_report_of_nothing_is_a_page(tmp_path):
    _, parsed = write(tmp_path)
    assert 'article' not in parsed.tags and '0 instructions' in parsed.text


def test_the_mask_layer_covers_the_mask_alone():
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:15] = True
    layer = mask_layer([found((4, 3, 15, 9), 2, mask_to_rle(mask))], Size(30, 20))
    assert ((layer[..., 3] > 0) == mask).all()
    assert tuple(layer[3, 4, :3]) == colour(2) and layer[3, 4, 3] == 255  # outline
    assert layer[6, 9, 3] < 255


def test_a_mask_leaves_the_colours_under_it_readable():
    mask = np.ones((480, 640), bool)
    layer = mask_layer([found((0, 0, 640, 480), 0, mask_to_rle(mask))], Size(640, 480))
    assert 0 < layer[240, 320, 3] / 255 <= 0.15


@pytest.mark.parametrize(('side', 'outline_px'), [(64, 1), (640, 2), (3200, 10)])
def test_outlines_grow_with_the_image(side, outline_px):
    mask = np.zeros((60, side), bool)
    mask[10:50, 5:60] = True
    layer = mask_layer([found((5, 10, 60, 50), 0, mask_to_rle(mask))], Size(side, 60))
    assert (layer[10:50, 30, 3] == 255).sum() == 2 * outline_px


@pytest.mark.parametrize(('status', 'tone'), [
    (Status.NO_OBJECT, 'plain'),    # may well be right
    (Status.PARTIAL, 'fair'),
    (Status.TIMEOUT, 'bad'),
])
def test_only_what_is_an_error_has_the_colour_of_one(tmp_path, status, tone):
    write(tmp_path, Case('x', Perception(status, Task.DETECTION, status_message='so it is')))
    assert f'<p class="message {tone}">so it is' in (tmp_path / 'index.html').read_text()


IMAGE = np.zeros((48, 64, 3), np.uint8)


@pytest.mark.parametrize(('case', 'has_button'), [
    (Case('x', perception(), IMAGE), False),                                    # one's own picture
    (Case('x', perception(), IMAGE, true(Task.VQA, answer='red')), False),     # nothing to draw
    (Case('x', perception(), IMAGE, true(Task.DETECTION, (found((0, 0, 9, 9)),))), True),
])
def test_truth_can_be_shown_where_there_is_some(tmp_path, case, has_button):
    write(tmp_path, case)
    assert ('id="show-truth"' in (tmp_path / 'index.html').read_text()) is has_button


@pytest.mark.parametrize(('shape', 'lowest', 'highest'), [
    ((480, 640), 60, 60_000),
    ((10, 20000), 15, 100),        # 0.2 px high where it had to fit
    ((20000, 10), 60, 45_000),     # and 740,000 px high
])
def test_flat_and_tall_pictures_can_be_seen(tmp_path, shape, lowest, highest):
    write(tmp_path, Case('x', perception(detections=[found((0, 0, 9, 9))]),
                         np.zeros((*shape, 3), np.uint8)))
    page = (tmp_path / 'index.html').read_text()
    at_least, at_most = map(int, re.search(
        r'min-width:(\d+)px;max-width:(\d+)px', page).groups())
    shown_width = max(min(370, at_most), at_least)
    assert lowest <= shown_width * shape[0] / shape[1] <= highest
    # A line must not cover the picture.
    stroke = float(re.search(r'rx="[^"]+" fill="none"[^>]*stroke-width="([\d.]+)"', page).group(1))
    assert stroke <= min(shape) / 8


@pytest.mark.parametrize(('detection', 'heads'), [
    (found((0, 0, 9, 9)), ['object', 'x, y', 'size']),
    (replace(found((0, 0, 9, 9)), score=0.5), ['object', 'x, y', 'size', 'score']),
    (found((0, 0, 9, 9), mask=mask_to_rle(np.ones((9, 9), bool))),
     ['object', 'x, y', 'size', 'mask px']),
])
def test_a_column_has_something_in_it(tmp_path, detection, heads):
    write(tmp_path, Case('x', perception(detections=[detection, found((0, 0, 9, 9), 1)])))
    assert re.findall('<th>(.+?)</th>', (tmp_path / 'index.html').read_text()) == heads
