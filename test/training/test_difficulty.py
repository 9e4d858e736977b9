"""``./run train difficulty``: answers that are drawn, kept and scored, and the sets of rows."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from rows_of_data import BOX, NOTHING, RIGHT, row, text_row, write_rows

from vr_ros.core.types import Size
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.trainers.difficulty.answers import AnswerFile, Answers, AnswersError
from vr_ros.training.trainers.difficulty.command import main

# IoU 0.6, so that it is right, and 0.6 of the accuracy of a detection.
NEAR = '<answer>[{"bbox_2d": [100, 100, 200, 160], "label": "cup"}]</answer>'
FAR = '<answer>[{"bbox_2d": [300, 300, 400, 400], "label": "cup"}]</answer>'
SUM, MISS = '<answer>12</answer>', '<answer>13</answer>'


def ids(folder: Path) -> list[str]:
    return [one['id'] for path in sorted(folder.glob('*.parquet'))
            for one in parquet.read_table(path, columns=['id']).to_pylist()]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def detection_row(number: int) -> dict[str, Any]:
    """Make a row of V-Triune's detection, whose threshold rises to 0.99 by itself."""
    sample = Sample('detection', json.dumps([{'bbox_2d': BOX['bbox_2d'], 'label': 'cup'}]),
                    'coco', f'row-{number}')
    return row(number, data_source='coco', reward_spec=sample.to_json())


def run(tmp_path: Path, rows: list[dict[str, Any]], answers: list[list[str]], *options: str) -> int:
    """Sort rows by answers that are given; :param answers: to each row."""
    write_rows(tmp_path / 'data', rows)
    with (tmp_path / 'answers.jsonl').open('w', encoding='utf-8') as file:
        for one, responses in zip(rows, answers, strict=True):
            file.write(json.dumps({'id': one['id'], 'responses': responses}) + '\n')
    return main(['--data', str(tmp_path / 'data'), '--out', str(tmp_path / 'out'), '--answers',
                 str(tmp_path / 'answers.jsonl'), *options])


def test_rows_are_sorted_by_how_many_answers_are_right(tmp_path) -> None:
    rows = [row(number) for number in range(4)] + [text_row(9)]
    answers = [[RIGHT] * 3, [RIGHT, NOTHING, NOTHING], [NOTHING] * 3, [RIGHT, RIGHT, ''],
               [SUM] * 3]
    assert run(tmp_path, rows, answers, '--rollouts', '3') == 0
    found = {name: ids(tmp_path / 'out' / name) for name in ('easy', 'medium', 'hard')}
    assert found == {'easy': ['row-0', 'text-9'], 'medium': ['row-1', 'row-3'], 'hard': ['row-2']}
    rates = lines(tmp_path / 'out' / 'rates.jsonl')
    assert [one['right'] for one in rates] == pytest.approx([1, 1 / 3, 0, 2 / 3, 1])
    assert rates[1]['difficulty'] == 'medium' and rates[1]['accuracies'] == [1.0, 0.0, 0.0]
    # Rows are what was read, image and all.
    stored = parquet.read_table(tmp_path / 'out' / 'hard' / 'train-00000-of-00001.parquet')
    assert stored.to_pylist() == [rows[2]]


def test_stages_of_a_curriculum_get_their_rows_with_their_reward(tmp_path) -> None:
    rows = [row(number) for number in range(3)]
    answers = [[RIGHT] * 8, [RIGHT] + [NOTHING] * 7, [NOTHING] * 8]
    assert run(tmp_path, rows, answers, '--curriculum', 'boxes_first') == 0
    out = tmp_path / 'out'
    assert {name: ids(out / name) for name in ('warm_up', 'perception', 'reasoning')} == {
        'perception': ['row-0'], 'reasoning': ['row-1'], 'warm_up': ['row-2']}
    [easy] = parquet.read_table(out / 'perception' / 'train-00000-of-00001.parquet').to_pylist()
    sample = json.loads(easy['reward_spec'])
    assert sample['verifier'] == 'mixture' and sample['accuracy_ratio'] == 0.9
    [medium] = parquet.read_table(out / 'reasoning' / 'train-00000-of-00001.parquet').to_pylist()
    assert medium['reward_spec'] == rows[1]['reward_spec']


@pytest.mark.parametrize(('near', 'kept'), [
    (1, False),   # 0.6, below 8 * 2 / 16
    (2, True),    # 1.2
    (8, True),    # 4.8, below 8 * 10 / 16
])
def test_v_triune_keeps_perception_that_is_neither_lost_nor_won(tmp_path, near, kept) -> None:
    answers = [[NEAR] * near + [FAR] * (8 - near)]
    assert run(tmp_path, [detection_row(0)], answers, '--v-triune') == 0
    [rate] = lines(tmp_path / 'out' / 'rates.jsonl')
    assert sum(rate['accuracies']) == pytest.approx(0.6 * near)
    assert ids(tmp_path / 'out' / 'kept') == (['row-0'] if kept else [])
    assert ids(tmp_path / 'out' / 'dropped') == ([] if kept else ['row-0'])


@pytest.mark.parametrize(('right', 'kept'), [(8, False), (7, True), (0, True)])
def test_v_triune_drops_reasoning_that_is_always_right(tmp_path, right, kept) -> None:
    assert run(tmp_path, [text_row(0)], [[SUM] * right + [MISS] * (8 - right)],
               '--v-triune') == 0
    assert ids(tmp_path / 'out' / 'kept') == (['text-0'] if kept else [])


def test_rows_that_cannot_be_rated_are_left_out_by_name(tmp_path, capsys) -> None:
    bad = Sample('mixture', json.dumps([BOX]), 'lvis', 'row-1', {'parts': {'similarity': 1}})
    rows = [row(0), row(1, reward_spec=bad.to_json()), row(2)]
    assert run(tmp_path, rows, [[RIGHT, '']] * 3, '--rollouts', '2') == 1
    # Answers to a row that is not asked about do no harm, a row without answers is named.
    text = (tmp_path / 'answers.jsonl').read_text(encoding='utf-8')
    (tmp_path / 'answers.jsonl').write_text(text.replace('row-2', 'row-7'), encoding='utf-8')
    assert main(['--data', str(tmp_path / 'data'), '--out', str(tmp_path / 'out'), '--answers',
                 str(tmp_path / 'answers.jsonl'), '--rollouts', '2']) == 1
    left_out = {one['id']: one['reason'] for one in lines(tmp_path / 'out' / 'left_out.jsonl')}
    assert left_out.keys() == {'row-1', 'row-2'}
    assert 'compares image and text' in left_out['row-1'] and 'no answers' in left_out['row-2']
    assert ids(tmp_path / 'out' / 'medium') == ['row-0']
    assert '2 rows left out' in capsys.readouterr().err


@pytest.mark.parametrize(('options', 'reason'), [
    (['--curriculum', 'boxes_first', '--rollouts', '4'], 'wants --rollouts 8'),
    (['--curriculum', 'boxes_last'], 'did you mean "boxes_first"'),
    (['--rollouts', '3'], '8 responses, not 3'),
    (['--split', 'val'], 'holds no whole val'),
    (['--card', 'sim_huge'], 'unknown model card'),
])
def test_what_cannot_be_done_is_refused_in_one_line(tmp_path, capsys, options, reason) -> None:
    assert run(tmp_path, [row(0)], [[RIGHT] * 8], *options) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert reason in line


def curriculum(tmp_path: Path, **changes: Any) -> str:
    stage = {'name': 'one', 'kind': 'reward', 'rows': ['easy', 'medium', 'hard'], **changes}
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps({'name': 'mine', 'rollouts': 2, 'stages': [stage]}))
    return str(path)


@pytest.mark.parametrize(('changes', 'reason'), [
    ({'name': ''}, 'a folder of its name'),                    # would be --out itself
    ({'name': '../victim'}, 'a folder of its name'),
    ({'name': 'answers.jsonl'}, 'a folder of its name'),
    ({'rows': []}, 'stage "one": it takes no rows'),
    ({'verifier': 'exakt'}, 'stage "one", verifier: no verifier "exakt"'),
])
def test_a_wrong_stage_is_refused_before_anything_is_drawn_or_removed(
        tmp_path, capsys, changes, reason) -> None:
    for folder in ('out', 'victim'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'answers.jsonl').write_text('of weeks')
    assert run(tmp_path, [row(0)], [[RIGHT] * 2], '--rollouts', '2', '--curriculum',
               curriculum(tmp_path, **changes)) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert reason in line
    for folder in ('out', 'victim'):
        [path] = (tmp_path / folder).iterdir()
        assert path.read_text() == 'of weeks'


def test_only_files_of_an_earlier_set_are_replaced(tmp_path, capsys) -> None:
    two, out = ('--rollouts', '2'), tmp_path / 'out'
    assert run(tmp_path, [row(0)], [[RIGHT] * 2], *two) == 0
    (out / 'easy' / 'notes.txt').write_text('mine')
    write_rows(out / 'easy', [row(7)], 'val')
    assert run(tmp_path, [row(0)], [[NOTHING] * 2], *two) == 0
    assert (out / 'easy' / 'notes.txt').read_text() == 'mine'
    assert ids(out / 'hard') == ['row-0'] and ids(out / 'easy') == ['row-7']
    # One that was killed while it wrote is replaced, too.
    (out / 'hard' / 'train.json').rename(out / 'hard' / 'gone')
    (out / 'hard' / 'train-00000-of-00001.parquet').rename(out / 'hard' / 'train-00000.partial')
    (out / 'hard' / 'train.journal.jsonl').write_text('{"identity": {"set": "hard"}}\n{"ne')
    assert run(tmp_path, [row(0)], [[NOTHING] * 2], *two) == 0
    assert ids(out / 'hard') == ['row-0'] and not list(out.glob('*/*.partial'))
    capsys.readouterr()
    for name, meant in (('medium', 'a train split from elsewhere'), ('kept', 'is no folder')):
        if name == 'kept':
            (out / name).write_text('mine')
        else:
            (out / name / 'train.json').unlink()
            write_rows(out / name, [row(8)])
        assert run(tmp_path, [row(0)], [[RIGHT] * 2], *two,
                   *(['--v-triune'] if name == 'kept' else [])) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert f'{out / name} ' in line and meant in line
    assert ids(out / 'medium') == ['row-8'] and (out / 'kept').read_text() == 'mine'


def test_rows_are_not_sorted_over_themselves(tmp_path, capsys) -> None:
    assert run(tmp_path, [row(0)], [[RIGHT] * 2], '--rollouts', '2') == 0
    assert main(['--data', str(tmp_path / 'out' / 'easy'), '--out', str(tmp_path / 'out'),
                 '--answers', str(tmp_path / 'answers.jsonl'), '--rollouts', '2']) == 2
    assert 'holds the rows that are to be sorted' in capsys.readouterr().err
    assert ids(tmp_path / 'out' / 'easy') == ['row-0']


@pytest.mark.parametrize(('limit', 'status', 'left_out', 'easy'), [
    (1, 0, [], ['row-0']), (2, 1, ['row-1'], ['row-0']),
    (3, 1, ['row-1', 'row-2'], ['row-0']), (9, 1, ['row-1', 'row-2'], ['row-0', 'row-3'])])
def test_rows_beyond_the_limit_are_not_looked_at(tmp_path, limit, status, left_out, easy) -> None:
    rows = [row(0), row(1, task='guessing'), row(2, task='guessing'), row(3)]
    assert run(tmp_path, rows, [[RIGHT] * 2] * 4, '--rollouts', '2', '--limit', str(limit)
               ) == status
    assert [one['id'] for one in lines(tmp_path / 'out' / 'left_out.jsonl')] == left_out
    assert ids(tmp_path / 'out' / 'easy') == easy
    assert len(lines(tmp_path / 'out' / 'rates.jsonl')) == len(easy)


@pytest.mark.parametrize('option', [
    ('--limit', '0'), ('--limit', '-5'), ('--rollouts', '1'), ('--temperature', '0'),
    ('--temperature', 'inf')])
def test_numbers_out_of_range_are_refused(tmp_path, capsys, option) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['--data', str(tmp_path), '--out', str(tmp_path / 'out'), *option])
    assert ended.value.code == 2 and option[0] in capsys.readouterr().err


@pytest.mark.parametrize(('device', 'reason'), [
    ('cuda', "no device 'cuda'"), ('bogus', "unknown device 'bogus'")])
def test_a_device_that_is_not_there_is_refused(
        tmp_path, capsys, monkeypatch, device, reason) -> None:
    from vr_ros.models import device as devices

    monkeypatch.setattr(devices, 'count_gpus', lambda: 0)
    data = write_rows(tmp_path / 'data', [row(0)])
    assert main(['--card', 'sim_tiny', '--data', str(data), '--out', str(tmp_path / 'out'),
                 '--device', device]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert reason in line and not (tmp_path / 'out').exists()


def test_files_that_hold_no_such_rows_are_named(tmp_path, capsys) -> None:
    assert run(tmp_path, [], []) == 2
    assert 'train-00000-of-00001.parquet: no row is in this split' in capsys.readouterr().err
    # The second file is looked at before the first is asked about.
    write_rows(tmp_path / 'data', [row(0), row(1)], files=2)
    path = tmp_path / 'data' / 'train-00001-of-00002.parquet'
    whole = parquet.read_table(path)
    (tmp_path / 'data' / 'train-00000-of-00001.parquet').unlink()
    for name in ('width', 'image'):
        place = whole.schema.get_field_index(name)
        parquet.write_table(whole.set_column(place, name, pa.array(['840'])), path)
        assert main(['--card', 'sim_tiny', '--data', str(tmp_path / 'data'), '--out',
                     str(tmp_path / 'out')]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert path.name in line and f'column {name} ' in line and 'string' in line
    assert not (tmp_path / 'out').exists()


def test_the_file_goes_on_and_drops_a_torn_line(tmp_path) -> None:
    path = tmp_path / 'answers.jsonl'
    file = AnswerFile(path, {'seed': 1})
    file.add(Answers('a', ('one', 'zwei\n', 'três \u2028'), (1, 2, 3)))
    file.add(Answers('b', problem='it has no image'))
    with path.open('ab') as torn:
        torn.write(b'{"id": "c", "resp')
    again = AnswerFile(path, {'seed': 1})
    assert again.known == {'a', 'b'}
    again.add(Answers('c', ('x',), (1,)))
    assert list(AnswerFile(path, {'seed': 1}).read()) == [
        Answers('a', ('one', 'zwei\n', 'três \u2028'), (1, 2, 3)),
        Answers('b', problem='it has no image'), Answers('c', ('x',), (1,))]
    with pytest.raises(AnswersError, match='with other seed'):
        AnswerFile(path, {'seed': 2})
    path.write_text('{"id": "a"}\n', encoding='utf-8')
    with pytest.raises(AnswersError, match='no file of answers'):
        AnswerFile(path, {'seed': 1})


def test_the_embedded_model_answers_and_a_run_goes_on_where_it_was(tmp_path, monkeypatch) -> None:
    """The same answers come, whether asked in one run or in two."""
    from vr_ros.training.trainers.difficulty.sampler import Sampler

    rows = [row(number, Size(168, 168)) for number in range(2)] + [text_row(5)]
    data = write_rows(tmp_path / 'data', rows)
    options = ['--card', 'sim_tiny', '--data', str(data), '--rollouts', '2', '--device', 'cpu']
    assert main([*options, '--out', str(tmp_path / 'one')]) == 1   # the row of text alone
    answers = lines(tmp_path / 'one' / 'answers.jsonl')
    assert [len(one['responses']) for one in answers[1:]] == [2, 2, 0]
    assert answers[3]['problem'] == 'it has no image to ask about'
    first, second = answers[1]['responses']
    assert first.startswith('<think>') and first != second
    assert all(text.count('</answer>') <= 1 and not text.partition('</answer>')[2]
               for one in answers[1:] for text in one['responses'])
    (tmp_path / 'two').mkdir()
    torn = (tmp_path / 'one' / 'answers.jsonl').read_bytes().split(b'\n')
    (tmp_path / 'two' / 'answers.jsonl').write_bytes(b'\n'.join(torn[:2]) + b'\n' + torn[2][:9])
    asked = []
    ask = Sampler.ask
    monkeypatch.setattr(Sampler, 'ask', lambda self, one: (
        asked.append(one.row.id) or ask(self, one)))
    assert main([*options, '--out', str(tmp_path / 'two')]) == 1
    assert asked == ['row-1', 'text-5']
    assert lines(tmp_path / 'two' / 'answers.jsonl') == answers
    assert lines(tmp_path / 'two' / 'rates.jsonl') == lines(tmp_path / 'one' / 'rates.jsonl')
