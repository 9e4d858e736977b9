"""``evaluate sim``: its questions, its figures against values worked out by hand, its runs."""
from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from oracle import Oracle

from vr_ros.core.rle import mask_to_rle
from vr_ros.core.types import Status, Task
from vr_ros.datasets import sim_scenes
from vr_ros.datasets.sample import SampleError
from vr_ros.datasets.sim_scenes import SimScenes
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation import cli
from vr_ros.evaluation.commands import sim
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.overlap import compare_regions
from vr_ros.evaluation.runs.records import Record, read_records
from vr_ros.evaluation.runs.runner import Job
from vr_ros.evaluation.scores.sim import sim_measures
from vr_ros.sim.instructions import answer_key, generate_many
from vr_ros.sim.renderer import render_scene
from vr_ros.sim.templates import TEMPLATES


def mask(*cells):
    image = np.zeros((4, 5), bool)
    for row, column in cells:
        image[row, column] = True
    return mask_to_rle(image)


@pytest.mark.parametrize(('truth', 'found', 'expected'), [
    ([], [], 1.0),                                                      # rightly nothing
    ([mask((0, 0))], [], 0.0),
    ([], [mask((0, 0))], 0.0),
    ([mask((0, 0)), mask((1, 1))], [mask((0, 0), (1, 1))], 1.0),        # split differently
    ([mask((0, 0), (0, 1))], [mask((0, 1), (0, 2))], 1 / 3),
])
def test_union_iou(truth, found, expected):
    assert compare_regions(truth, found).iou == pytest.approx(expected)


def located(kind: str, true: int, found: int, hits: int, status: Status = Status.OK) -> Record:
    """Make an answer to a question for objects, of which the first ``hits`` are where they are."""
    masks = tuple(mask((0, i)) for i in range(max(true, found)))
    truth = Truth(boxes=[[10 * i, 0, 10 * i + 4, 4] for i in range(true)], masks=masks[:true])
    tops = [0 if i < hits else 50 for i in range(found)]
    boxes = [[10 * i, top, 10 * i + 4, top + 4] for i, top in enumerate(tops)]
    return Record('id', truth, Found(status, boxes, masks[:found]), kind=kind)


def said(answer: str) -> Record:
    return Record('id', Truth(answers=('red',)), Found(answer=answer), kind='vqa_colour')


def test_figures_of_a_small_examination():
    records = [
        located('detect_all', 2, 3, 1),                          # IoU of all pixels 2 / 3
        located('count_all', 3, 3, 3),
        located('count_function', 1, 2, 1),                      # 1 / 2
        located('detect_one', 0, 0, 0, Status.NO_OBJECT),
        located('segment_one', 0, 0, 0, Status.PARSE_ERROR),     # an error recognises nothing
        said('Red.'), said('blue'),
    ]
    values = {f.name: (f.value, f.of) for f in figures(sim_measures(records), rounds=0)}
    assert values == {
        'hit rate': (pytest.approx(5 / 6), 6),
        'precision': (pytest.approx(5 / 8), 8),
        'gIoU': (pytest.approx((2 / 3 + 1 + 1 / 2 + 1) / 5), 5),
        'exact count': (0.5, 2),                                 # of counting questions only
        'absence recognised': (0.5, 2),
        'VQA exact': (0.5, 2),
    }


def test_nothing_counted_is_no_figure():
    assert all(f.value is None for f in figures(sim_measures([])))


def test_a_name_leads_back_to_its_questions():
    questions = SimScenes.named(SimScenes(3, 2, 1_000_007, 'train').name)
    assert questions.name == 'sim train 3x2 from 1000007' and len(questions.ids) == 6
    assert SimScenes.named('simulated/val.jsonl 0123') is None


def test_questions_are_those_of_their_scenes():
    """The truth of each is what the text, read again, means in a picture rendered anew."""
    questions = SimScenes(4, 3, 1_000_000, 'heldout')
    assert questions.ids[:4] == ['1000000-0', '1000000-1', '1000000-2', '1000001-0']
    for place in (11, 0, 1, 4, 0):                               # in any order, and again
        sample = questions.load(place)
        frame = render_scene(int(questions.ids[place].partition('-')[0]))
        meant = answer_key(sample.instruction, frame.truth)
        assert np.array_equal(sample.image, frame.rgb)
        assert (sample.kind, sample.task) == (meant.template, Task.AUTO)
        assert sample.truth.task is meant.task
        wanted = [o for o in frame.truth.objects if o.id in meant.target_ids]
        if meant.task is Task.VQA:
            assert sample.truth.answers == (meant.answer,) and sample.truth.boxes is None
        else:
            assert sample.truth.boxes.tolist() == [list(o.box) for o in wanted]
            assert sample.truth.masks == tuple(o.mask for o in wanted)


def test_a_scene_that_gives_no_occasion_for_more_says_so(monkeypatch):
    monkeypatch.setattr(sim_scenes, 'generate_many', lambda *args: generate_many(*args)[:2])
    questions = SimScenes(1, 3, 1_000_000, 'heldout')
    assert questions.load(1).instruction
    with pytest.raises(SampleError, match='scene 1000000 gives occasion for 2 instructions only'):
        questions.load(2)


def examine(tmp_path, *arguments: object, **oracle: object):
    """:return: exit code and JSON of a run whose answers are true, but where told to fail."""
    words = ['sim', '--scenes', 3, '--processes', 1, '--json', tmp_path / 'out.json', *arguments]
    options = cli.parser().parse_args([str(word) for word in words])
    open_ = partial(SimScenes, options.scenes, options.per_scene, options.first_seed, options.split)
    code = sim.run(options, Job(Oracle(open_, **oracle), open_))
    return code, json.loads((tmp_path / 'out.json').read_text())


def test_the_truth_reaches_every_aim_and_a_wrong_answer_only_its_own(tmp_path):
    code, content = examine(tmp_path)
    assert code == 0
    values = {c['name']: (c['value'], c['target']) for c in content['claims']}
    asked = {TEMPLATES[SimScenes(3, 3, 1_000_000, 'heldout').load(i).kind].task for i in range(9)}
    assert {Task.VQA, Task.COUNTING, Task.DETECTION} <= asked
    assert values.pop('sim: absence recognised') == (None, 0.9)   # nothing is missing in these
    assert values == {
        'sim: hit rate': (1, 0.8), 'sim: precision': (1, None), 'sim: gIoU': (1, 0.7),
        'sim: exact count': (1, 0.8), 'sim: VQA exact': (1, 0.85)}
    question = next(q for q in map(SimScenes(3, 3, 1_000_000, 'heldout').load, range(9))
                    if q.kind == 'detect_one')
    code, content = examine(tmp_path, fails=(question.instruction, 'miss'))
    values = {c['name'].removeprefix('sim: '): c['value'] for c in content['claims']}
    assert values['hit rate'] < 1 and values['gIoU'] < 1
    assert values['precision'] == values['exact count'] == values['VQA exact'] == 1
    rate = next(f for f in content['figures'] if f['name'] == 'hit rate')
    assert rate['low'] < values['hit rate'] < rate['high'] == 1    # scenes are drawn, one has it


def test_runs_are_kept_and_compared(tmp_path, capsys):
    question = SimScenes(3, 3, 1_000_000, 'heldout').load(0)
    _, first = examine(tmp_path, '--records', tmp_path / 'a')
    _, second = examine(tmp_path, '--records', tmp_path / 'b',
                        fails=(question.instruction, 'raise'))
    assert first['records'].endswith('sim-heldout-3x3-1000000-sim_tiny.jsonl')
    assert cli.main(['compare', first['records'], second['records']]) == 0
    assert '9 samples of sim heldout 3x3 from 1000000' in capsys.readouterr().out
    assert examine(tmp_path, '--records', tmp_path / 'a', fails=(question.instruction, 'die')) == (
        0, first | {'seconds': pytest.approx(first['seconds'], abs=1e9)})     # none asked again


def test_the_embedded_model_answers_what_is_not_told(tmp_path):
    arguments = ['sim', '--scenes', '1', '--processes', '1', '--device', 'cpu', '--json',
                 str(tmp_path / 'out.json'), '--records', str(tmp_path)]
    assert cli.main(arguments) == 0
    path = json.loads((tmp_path / 'out.json').read_text())['records']
    answered = read_records(tmp_path / path).answered
    assert len(answered) == 3 and all(r.task == 'AUTO' and r.found.raw_text for r in answered)


def test_commands_are_there_before_torch_and_the_renderer():
    code = ('import sys; from vr_ros.evaluation import cli; cli.parser();'
            'print([name for name in ("torch", "mujoco") if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60,
                          check=True)
    assert done.stdout.strip() == '[]'
