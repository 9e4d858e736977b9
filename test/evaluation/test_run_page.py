"""The report of a run: the numbers of the JSON, all that was skipped, safe whatever texts hold."""
from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from html_page import Page

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Size, Status
from vr_ros.datasets.sample import SampleError
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.failures import Kind, Situation, Verdict
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.figures import Figure
from vr_ros.evaluation.pages.gallery import groups
from vr_ros.evaluation.pages.run_markdown import write_run_markdown
from vr_ros.evaluation.pages.run_page import Look, write_run_page
from vr_ros.evaluation.runs.records import Header, Record, Run
from vr_ros.evaluation.runs.summary import Summary, figure_text

SIZE = Size(64, 48)
IMAGE = np.full((48, 64, 3), 90, np.uint8)
A, B = (5, 5, 25, 25), (30, 5, 50, 25)
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} | `x` \u202e\ud800\n'


def mask(box):
    plane = np.zeros((SIZE.height, SIZE.width), bool)
    plane[box[1]:box[3], box[0]:box[2]] = True
    return mask_to_rle(plane)


def true(*boxes, **more) -> Truth:
    return Truth('i', SIZE, boxes=boxes, masks=tuple(map(mask, boxes)), **more)


def found(*boxes, **more) -> Found:
    more = {'scores': [0.7] * len(boxes), 'latency_ms': 1234.5, 'raw_text': '<think>so'} | more
    return Found(boxes=boxes, masks=tuple(map(mask, boxes)), **more)


def skipped(number: int) -> list[Record]:
    return [Record(f'skipped {n}', skipped=f'broken image: reason {n}') for n in range(number)]


def run_of(*records: Record, missing: int = 0, dataset: str = 'mini/val.jsonl 012345') -> Run:
    header = Header('sim_tiny 0123', dataset, len(records) + missing, 'digest', {'split': 'val'})
    return Run(header, tuple(r for r in records if not r.skipped),
               tuple(r for r in records if r.skipped))


ANSWERED = [
    Record('right', true(A, B), found(B, A), 'both boxes', 'DETECTION'),
    Record('poor', true(A), replace(found(A), masks=(mask((5, 5, 25, 12)),)), 'the box', 'AUTO'),
    Record('missed', true(A, B), found(A), 'both of them', 'SEGMENTATION'),
    Record('late', true(A), Found(Status.TIMEOUT, latency_ms=60_000), 'the box?', message='late'),
    Record('extra', true(), found(B), 'the cat'),
    Record('text', Truth('i', SIZE, answers=('red',)), Found(answer='Red', latency_ms=9), 'what?'),
    Record('region', Truth('i', SIZE, region=mask(A), ignore=mask(B)), found(B), 'the pixels'),
    Record('counted', Truth('j', count=3), found(A, B), 'how many?', 'COUNTING'),
]


def write(tmp_path: Path, run: Run, pictures=lambda sample_id: IMAGE, limit: int = 12):
    """:return: the page, the JSON and the Markdown of a run."""
    summary = Summary.of(run, None, 1.0, rounds=20)
    write_run_page(summary, tmp_path / 'run.html', Look(pictures, limit))
    write_run_markdown(summary, tmp_path / 'run.md')
    summary.write_json(tmp_path / 'run.json')
    return (Page(tmp_path / 'run.html'), json.loads((tmp_path / 'run.json').read_text()),
            (tmp_path / 'run.md').read_text())


def markdown_rows(text: str) -> list[list[str]]:
    """Split the rows of all tables at what separates cells, not at what is escaped."""
    return [[re.sub(r'\\(.)', r'\1', cell.strip()) for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
            for line in text.splitlines() if line.startswith('|')]


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    return write(tmp_path_factory.mktemp('run'), run_of(*ANSWERED, *skipped(30), missing=4))


def test_figures_are_those_of_the_json(written):
    page, content, text = written
    assert len(content['figures']) > 30
    for rows in (page.rows, markdown_rows(text)):
        shown = {row[0].removesuffix('\u00a0↓'): row for row in rows}
        for claim in content['figures']:
            row = shown[claim['name']]
            assert figure_text(claim['value'], claim['unit']) == row[1].split()[0]
            assert f'{claim["of"]:,}' in row
            if claim['low'] is not None:
                ends = (figure_text(claim[end], claim['unit']) for end in ('low', 'high'))
                assert ' to '.join(ends) in row


def test_kinds_of_questions_are_counted_apart(tmp_path):
    """The most frequent first; what has no kind is called other."""
    kinds = ('one <b>', 'one <b>', 'two', 'two', 'two', '', '', '')
    page, content, text = write(tmp_path, run_of(*(
        replace(record, kind=kind) for record, kind in zip(ANSWERED, kinds, strict=True))))
    assert content['questions'] == [
        {'question': '', 'samples': 3,
         'became': {'right': 1, 'wrong object': 1, 'wrong count': 1}},
        {'question': 'two', 'samples': 3, 'became': {'error': 1, 'missed': 1, 'extra': 1}},
        {'question': 'one <b>', 'samples': 2, 'became': {'right': 1, 'poor mask': 1}}]
    for rows in (page.rows, markdown_rows(text)):
        head, *lines = rows[next(i for i, row in enumerate(rows) if row[0] == 'question'):][:5]
        lines = [line for line in lines if line[0] in ('other', 'two', 'one <b>')]
        shown = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in lines}
        assert [*shown] == ['other', 'two', 'one <b>']
        assert (shown['other']['share right'], shown['two']['share right']) == ('0.333', '0.000')
        assert (shown['two']['missed'], shown['two']['right']) == ('1', '·')


def test_one_kind_of_question_is_no_table(written):
    page, content, text = written
    assert content['questions'] == [] and 'By kind of question' not in page.text + text


def test_strict_and_published_figures_stand_apart(written):
    page, _, text = written
    for source in (page.text, text):
        strict, published = source.split('quirks included')
        assert 'box recall@0.5' in strict and 'published gIoU' not in strict
        assert 'published gIoU' in published and ' box recall@0.5' not in published


def test_the_table_of_failures_is_that_of_the_json(written):
    page, content, text = written
    numbers = {(cell['kind'], cell['situation']): cell['number'] for cell in content['failures']}
    assert sum(numbers.values()) == content['answered'] == len(ANSWERED)
    for rows in (page.rows, markdown_rows(text)):
        head = next(row for row in rows if row[:2] == ['', 'absent'])
        for kind in Kind:
            for row in rows:
                if row[0].startswith(kind.value) and len(row) == len(head):
                    for situation, shown in zip(head[1:-1], row[1:-1], strict=True):
                        number = numbers.pop((kind.value, situation), 0)
                        assert shown.strip() in ([str(number)] if number else ['·', '0'])
        assert not numbers
        numbers = {(cell['kind'], cell['situation']): cell['number']
                   for cell in content['failures']}
    named = {i for cell in content['failures'] for i in cell['samples'] or ()}
    assert named == {'poor', 'missed', 'late', 'extra', 'region', 'counted'}


def test_every_number_leads_to_its_cases(written):
    page, content, _ = written
    for cell in content['failures']:
        kind = Kind(cell['kind']).name.lower()
        target = f'{kind}-{Situation(cell["situation"]).name.lower()}'
        assert f'#{target}' in page.links
        part = page.source.split(f'id="{target}"')[1].split('</table>')[0]
        assert part.count('<tr>') == cell['number'] + 1
        for sample_id in cell['samples'] or ():
            assert sample_id in part


def test_all_that_was_skipped_is_listed(written):
    page, content, text = written
    assert len(content['skipped']) == 30
    for entry in content['skipped']:
        row = [entry['id'], entry['reason']]
        assert row in page.rows and row in markdown_rows(text)


def test_what_else_was_left_out_is_said(tmp_path):
    summary = Summary(run_of(ANSWERED[0]), [], None, 1.0)
    write_run_page(summary, tmp_path / 'run.html', Look(besides=['3 continuous ones | left out']))
    write_run_markdown(summary, tmp_path / 'run.md', ['3 continuous ones | left out'])
    assert '3 continuous ones | left out' in Page(tmp_path / 'run.html').text
    assert '\n- 3 continuous ones \\| left out\n' in (tmp_path / 'run.md').read_text()


def test_what_is_missing_is_said(written):
    page, content, text = written
    assert content['missing'] == 4
    assert 'not finished: 4 of 42 samples are missing' in page.text
    assert '30 skipped, 4 missing' in text


@pytest.mark.parametrize(('run', 'incomplete'), [
    (run_of(ANSWERED[0], ANSWERED[2]), False),                          # wrong, but an answer
    (run_of(ANSWERED[0], missing=1), True),
    (run_of(ANSWERED[0], *skipped(1)), True),
    (run_of(ANSWERED[3]), True),                                        # late
    (run_of(Record('a', true(A), Found(Status.PARSE_ERROR))), False),   # its own wording
])
def test_what_is_not_complete(run, incomplete):
    assert Summary(run, [], None, 1.0).is_incomplete is incomplete


def test_nothing_is_loaded_from_elsewhere(written):
    page, _, _ = written
    pictures = [link for link in page.links if not link.startswith('#')]
    assert pictures and all(link.startswith('data:image/') for link in pictures)
    assert {link[1:] for link in page.links if link.startswith('#')} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not {'script', 'link', 'iframe', 'object', 'embed', 'img', 'form'} & set(page.tags)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page.source
    assert 'url(' not in page.source and '@import' not in page.source


def test_hostile_text_stays_text(tmp_path):
    truth = true(A, labels=(HOSTILE,))
    page, content, text = write(tmp_path, run_of(
        Record(HOSTILE, truth, found(B, answer=HOSTILE, raw_text=HOSTILE), HOSTILE, message=HOSTILE,
               kind=HOSTILE),
        Record('b', Truth(answers=(HOSTILE,)), Found(answer='x'), 'what?'),
        Record(f'c {HOSTILE}', skipped=HOSTILE), dataset=HOSTILE), lambda sample_id: IMAGE)
    assert not {'script', 'img'} & set(page.tags)
    assert not [name for name in page.names if name.startswith('on')]
    # On the card: id, kind, instruction, answer, label, message, raw text; in the list: id,
    # instruction, answer; another truth on its card and in its list; two skipped; data set twice,
    # and the beginning of its name in both titles.
    assert page.text.count('<script>alert(1)</script>') == 18
    assert page.text.count('{{ 7*7 }}') == 16
    assert not re.search(r'(?<!\\)<', text)
    assert all(len(row) in (2, 4, 5) for row in markdown_rows(text))
    assert content['skipped'][0]['reason'] == HOSTILE


def test_pictures_have_what_was_found_and_what_is_true(tmp_path):
    page, _, _ = write(tmp_path, run_of(ANSWERED[1]))
    layers = [link for link in page.links if link.startswith('data:')]
    photo, masks, outline = [
        cv2.imdecode(np.frombuffer(base64.b64decode(link.split(',')[1]), np.uint8),
                     cv2.IMREAD_UNCHANGED) for link in layers]
    assert abs(int(photo[0, 0, 0]) - 90) < 3 and photo.shape == (48, 64, 3)
    assert ((masks[..., 3] > 0) == rectangle((5, 5, 25, 12))).all()
    assert (outline[5, 5:25] == 255).all() and (outline[24, 5:25] == 255).all()
    assert outline[15, 15, 3] == 0
    assert 'poor mask AUTO' not in page.text and 'box IoU mask IoU score' in page.text
    assert '0 5, 5 20 × 20 1.00 0.35 0.70' in page.text


@pytest.mark.parametrize(('found', 'words'), [
    (Found(raw_text='<think>it shines</think>Red', reasoning='it shines'),
     '<think>it shines</think>Red rest'),
    (Found(reasoning='it shines'), 'it shines rest'),       # as bags have it
])
def test_what_the_model_wrote_is_shown(tmp_path, found, words):
    page, _, _ = write(tmp_path, run_of(Record('rest', Truth(answers=('Red',)), found, 'what?')))
    assert words in page.text


def test_every_box_is_drawn(tmp_path):
    page, _, _ = write(tmp_path, run_of(ANSWERED[2]))
    card = page.source.split('<article')[1].split('</article>')[0]
    true_boxes, found_boxes = card.split('class="truth" fill')[1].split('class="boxes"', 1)
    for part, boxes in ((true_boxes, [A, B]), (found_boxes, [A])):
        assert part.count('<rect') == len(boxes)
        for x_min, y_min, x_max, y_max in boxes:
            assert (f'x="{x_min}.0" y="{y_min}.0" width="{x_max - x_min}.0"'
                    f' height="{y_max - y_min}.0"') in part


def rectangle(box) -> np.ndarray:
    plane = np.zeros((SIZE.height, SIZE.width), bool)
    plane[box[1]:box[3], box[0]:box[2]] = True
    return plane


def test_pixels_to_be_ignored_are_shaded(tmp_path):
    page, _, _ = write(tmp_path, run_of(ANSWERED[6]))
    layer = next(link for link in page.links if link.startswith('data:image/png'))
    alpha = cv2.imdecode(np.frombuffer(base64.b64decode(layer.split(',')[1]), np.uint8),
                         cv2.IMREAD_UNCHANGED)[..., 3]
    assert ((alpha > 0) == rectangle(B)).all()


def unreadable(sample_id):
    raise SampleError('broken image: cut off')


def gone(sample_id):
    raise ZeroDivisionError('of a kind nobody thought of')


@pytest.mark.parametrize(('pictures', 'words'), [
    (unreadable, 'cannot be read any more: broken image: cut off'),
    (gone, 'cannot be read any more: ZeroDivisionError'),
    (lambda sample_id: IMAGE[:20], 'another picture than then: 64 × 20, not 64 × 48 px'),
    (None, '--dataset shows its pictures'),
])
def test_a_picture_that_is_not_there_is_said_so(tmp_path, pictures, words):
    page, _, _ = write(tmp_path, run_of(ANSWERED[0], ANSWERED[6]), pictures)
    assert words in page.text
    assert page.tags.count('article') == 2 and 'data:image/jpeg' not in page.source
    assert page.source.count('rx="') >= 2     # the boxes are drawn all the same


@pytest.mark.parametrize(('records', 'there', 'not_there'), [
    ([], 'No sample was answered', 'Plots'),
    (skipped(2), '2 of 2 could not be used', 'Figures'),
    ([ANSWERED[5]], 'VQA exact', 'IoU of'),                               # texts alone
    ([ANSWERED[7]], 'exact count', 'IoU of masks'),                       # numbers alone
    ([Record('a', Truth(), Found(answer='x'), 'bag')], 'Not judged', 'Worst'),
    ([ANSWERED[0]], 'Best', 'Worst'),
    ([ANSWERED[3]], 'Worst', 'Best'),                                     # errors alone
    ([ANSWERED[0]], 'Skipped samples None.', 'not finished'),
])
def test_a_part_without_anything_to_show(tmp_path, records, there, not_there):
    page, _, text = write(tmp_path, run_of(*records))
    assert there in page.text and not_there not in page.text
    assert text.startswith('# sim_tiny 0123 on mini/val.jsonl')


def test_a_large_run_makes_a_page_that_can_be_sent(tmp_path):
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 255, (1500, 2000, 3), np.uint8)
    boxes = [(x, 0, x + 5, 5) for x in range(40)]
    records = [
        Record(f'{n:04d}', Truth('i', Size(2000, 1500), boxes=boxes),
               Found(boxes=[*boxes, A], raw_text='x' * 100_000, latency_ms=n), 'y' * 50_000)
        for n in range(150)]
    page, content, _ = write(tmp_path, run_of(*records), lambda sample_id: noise, limit=3)
    assert page.tags.count('article') == 3
    assert len(page.source) < 2_500_000
    cell = page.source.split('id="extra-many"')[1].split('</table>')[0]
    assert cell.count('<tr>') == 1 + 100
    assert 'and 50 more' in page.text and 'and 11 more objects' in page.text
    assert '46,000 more characters' in page.text and '96,000 more characters' in page.text
    for link in page.links:
        if link.startswith('data:'):
            data = np.frombuffer(base64.b64decode(link.split(',')[1]), np.uint8)
            assert cv2.imdecode(data, cv2.IMREAD_UNCHANGED).shape[:2] == (480, 640)
    assert len(content['failures'][0]['samples']) == 150


def verdicts(*rows: tuple[Kind, Situation, float]) -> list[Verdict]:
    return [Verdict(*row) for row in rows]


def test_the_worst_are_of_each_kind_and_the_best_of_each_situation():
    one, text = Situation.ONE, Situation.TEXT
    chosen = groups(verdicts(
        (Kind.MISSED, one, 0.5), (Kind.MISSED, one, 0.0), (Kind.MISSED, one, 0.2),
        (Kind.WRONG_ANSWER, text, 0.4), (Kind.PARSE, one, 0.0), (Kind.RIGHT, one, 0.8),
        (Kind.RIGHT, text, 1.0), (Kind.RIGHT, one, 0.9), (Kind.UNKNOWN, Situation.UNKNOWN, 0.0)), 4)
    assert [group.title for group in chosen] == ['Worst', 'Best', 'Not judged']
    assert [group.places for group in chosen] == [(4, 1, 3, 2), (7, 6, 5), (8,)]
    assert groups([], 4) == []


@pytest.mark.parametrize(('value', 'unit', 'text'), [
    (None, 'share', '–'), (0.12345, 'share', '0.123'), (1, 'share', '1.000'),
    (12345.6, 'ms', '12,346'), (0.5, 'objects', '0.500'), (30, 'words', '30.0'),
    (99.96, 'ms', '100'), (99.94, 'ms', '99.9'), (0, 'words', '0'),
])
def test_values_as_people_read_them(value, unit, text):
    assert figure_text(value, unit) == text


def test_a_figure_without_a_value_is_a_dash(tmp_path):
    summary = Summary(run_of(ANSWERED[0]), [Figure('nothing', None, 0)], None, 1.0)
    write_run_page(summary, tmp_path / 'run.html', Look())
    assert ['nothing', '–', '', '', '0'] in Page(tmp_path / 'run.html').rows
