"""Mixtures: recipes that are data, rows of many sources in a drawn order, resumed."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mini_training
import pytest
import yaml
from mini_training import picture, write_table

from vr_ros.core.types import Size
from vr_ros.datasets.sample import DataSetError
from vr_ros.models.card import load_card
from vr_ros.training.adapters.columns import ready_row
from vr_ros.training.data.command import main
from vr_ros.training.data.mixtures.building import build_mixture, drawn_parts
from vr_ros.training.data.mixtures.recipe import Mixture, Part, part_options, read_mixture
from vr_ros.training.data.registry import builders
from vr_ros.training.data.schema import check_row
from vr_ros.training.data.shards import iter_rows, read_broken
from vr_ros.training.rewards.scoring import Reward, Scorer
from vr_ros.training.rewards.truth_rollout import truth_response
from vr_ros.training.rewards.verifier import Rollout

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / 'config/training/mixtures').glob('*.yaml'))
PARTS = [
    {'source': 'refcoco', 'rows': 2},
    {'name': 'empty', 'source': 'grefcoco', 'rows': 1, 'only': 'absent'},
    {'name': 'there', 'source': 'grefcoco', 'rows': 50, 'only': 'present'},
    {'source': 'puzzlevqa', 'rows': 2, 'times': 2, 'format_ratio': 0.1},
]


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Write three sets; of the puzzles the first two are not wanted, and the last is broken."""
    folder = tmp_path / 'sets'
    mini_training.write_refs(folder / 'refcoco', 'refs(unc).json')
    mini_training.write_refs(folder / 'grefcoco', 'grefs(unc).json')
    rows = [{'image': picture(), 'question': f'What is {answer}?', 'options': ['a'],
             'answer': answer} for answer in ('yes', 'a = b', 'blue', 'red', 'green')]
    write_table(folder / 'puzzlevqa', [*rows, rows[0] | {'image': {'bytes': b'x', 'path': None}}])
    return folder


def recipe(tmp_path: Path, parts: list[dict] = PARTS, **more: object) -> Path:
    path = tmp_path / 'recipe.yaml'
    path.write_text(yaml.safe_dump({
        'name': 'mine', 'seed': 7, 'storage': {'size': 84}, 'parts': parts, **more}))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob('*.parquet'))}


def run(tmp_path: Path, sets: Path, out: str = 'out', *more: str) -> int:
    return main([f'--mixture={tmp_path / "recipe.yaml"}', '--data', str(sets), '--out',
                 str(tmp_path / out), '--processes', '1', '--shard-size', '4', *more])


def test_rows_of_all_parts_in_a_drawn_order(tmp_path, sets, capsys):
    recipe(tmp_path)
    assert run(tmp_path, sets) == 1                       # 'there' has six rows, not fifty
    rows = list(iter_rows(tmp_path / 'out', 'train'))
    for row in rows:
        check_row(row)
        assert row.size == Size(84, 84)
    assert Counter(row.data_source for row in rows) == {
        'refcoco': 2, 'grefcoco': 7, 'puzzlevqa': 4}
    assert len({row.id for row in rows}) == 13
    puzzles = [row for row in rows if row.data_source == 'puzzlevqa']
    assert Counter(row.sample.ground_truth for row in puzzles).most_common(1)[0][1] == 2
    assert {row.sample.format_ratio for row in puzzles} == {0.1}
    assert sorted(row.id.endswith('#2') for row in puzzles) == [False, False, True, True]
    absent = [row for row in rows if row.id.endswith('@empty')]
    assert [row.sample.ground_truth for row in absent] == ['[]']
    sources = [row.data_source for row in rows]
    assert sources != sorted(sources) and not (tmp_path / 'out' / 'parts').exists()
    printed = capsys.readouterr().out
    for words in ('refcoco', 'there', '13 rows of 57 wanted', 'out/broken.jsonl'):
        assert words in printed.replace('\n', '')


def test_the_table_and_the_list_say_why_others_were_left_out(tmp_path, sets):
    mixture = read_mixture(recipe(tmp_path, [
        {'source': 'puzzlevqa', 'filters': ['no_choices', 'plain_answer']},
        {'source': 'refcoco', 'rows': 1}]))
    written, taken = build_mixture(mixture, tmp_path / 'out', sets)
    puzzles, refcoco = taken
    assert (puzzles.wanted, puzzles.rows, puzzles.looked) == (None, 3, 6)
    assert (refcoco.wanted, refcoco.rows, refcoco.looked) == (1, 1, 1)
    reasons = dict(puzzles.left_out)
    broken, = (reason for reason in reasons if reason.startswith('broken image'))
    assert reasons == {'true or false': 1, 'answer with symbols': 1, broken: 1}
    listed = read_broken(tmp_path / 'out')
    assert sorted(one['reason'] for one in listed) == sorted(
        f'puzzlevqa: {reason}' for reason in reasons)
    assert mixture.rows is None and written.rows == 4


def test_the_same_again_and_another_seed(tmp_path, sets):
    folders = []
    for name, seed in (('a', 7), ('b', 7), ('c', 8)):
        recipe(tmp_path, seed=seed)
        run(tmp_path, sets, name)
        folders.append(contents(tmp_path / name))
    assert folders[0] == folders[1] and folders[0] != folders[2]
    assert len(folders[0]) == 4                           # 13 rows, 4 to a file


def test_a_whole_mixture_is_not_built_again(tmp_path, sets, capsys):
    recipe(tmp_path)
    run(tmp_path, sets)
    before, first = contents(tmp_path / 'out'), capsys.readouterr().out
    (tmp_path / 'out' / 'parts').mkdir()                  # as if it had been killed at the end
    for folder in sets.iterdir():
        folder.rename(tmp_path / folder.name)             # nothing is read any more
    assert run(tmp_path, sets) == 1 and not (tmp_path / 'out' / 'parts').exists()
    assert contents(tmp_path / 'out') == before
    table = [line for line in first.splitlines() if '│' in line]
    assert table and all(line in capsys.readouterr().out for line in table[:1])


def test_another_recipe_does_not_mix_with_it(tmp_path, sets, capsys):
    recipe(tmp_path)
    run(tmp_path, sets)
    before = contents(tmp_path / 'out')
    recipe(tmp_path, PARTS[:1])
    assert run(tmp_path, sets) == 2
    assert 'another build' in capsys.readouterr().err and contents(tmp_path / 'out') == before


KILLED = """
import os, signal, sys
from vr_ros.training.data import shards
from vr_ros.training.adapters.columns import ready_row
from vr_ros.training.data.command import main

steps, close = int(sys.argv[1]), shards.ShardWriter._close_shard
def closed(self, place):
    global steps
    close(self, place)
    steps -= 1
    if not steps:
        os.kill(os.getpid(), signal.SIGKILL)
shards.ShardWriter._close_shard = closed
main(sys.argv[2:])
"""


@pytest.mark.parametrize('steps', [1, 3, 6, 8])
def test_killed_anywhere_it_goes_on_to_the_same_files(tmp_path, sets, steps):
    """Four parts in six files, then the mixture in four."""
    recipe(tmp_path)
    run(tmp_path, sets, 'whole')
    arguments = [f'--mixture={tmp_path / "recipe.yaml"}', '--data', str(sets), '--out',
                 str(tmp_path / 'out'), '--processes', '1', '--shard-size', '4']
    ended = subprocess.run([sys.executable, '-c', KILLED, str(steps), *arguments],
                           cwd=ROOT, env=os.environ | {'PYTHONPATH': str(ROOT)}, timeout=100,
                           capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not contents(tmp_path / 'out')
    run(tmp_path, sets)
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')
    lists = [read_broken(tmp_path / name) for name in ('out', 'whole')]
    assert lists[0] == lists[1] and lists[0]


class TestMissingSets:
    def test_all_are_named_before_anything_is_built(self, tmp_path, sets, capsys):
        recipe(tmp_path, [*PARTS, {'source': 'lvis', 'rows': 1}, {'source': 'coco', 'rows': 1}])
        assert run(tmp_path, sets) == 2
        error = capsys.readouterr().err
        assert error.count('\n') == 1 and 'LVIS v1 is' in error and 'COCO 2017 is' in error
        assert not (tmp_path / 'out').exists()

    def test_they_can_be_skipped(self, tmp_path, sets, capsys):
        recipe(tmp_path, [PARTS[0], {'source': 'lvis', 'rows': 5}])
        assert run(tmp_path, sets, 'out', '--skip-missing') == 1
        assert len(list(iter_rows(tmp_path / 'out', 'train'))) == 2
        assert 'the set is not there' in capsys.readouterr().out


def test_a_part_is_what_the_command_makes(tmp_path, sets):
    """The simulator, too, with options of its own."""
    parts = [{'source': 'sim', 'rows': 4, 'scenes': 3, 'size': 168}, PARTS[0]]
    recipe(tmp_path, parts, storage={})
    assert run(tmp_path, sets, 'out', '--keep-parts') == 0
    part = list(iter_rows(tmp_path / 'out' / 'parts' / 'sim', 'train'))
    assert main(['sim', '--scenes', '3', '--seed', '7', '--limit', '4', '--processes', '1', '--out',
                 str(tmp_path / 'sim')]) == 0
    assert part == list(iter_rows(tmp_path / 'sim', 'train')) and len(part) == 4


def test_rows_can_be_added_to_those_of_a_part(tmp_path, sets):
    recipe(tmp_path, [{'source': 'refcoco', 'joins': 1.0}, {'source': 'grefcoco', 'rows': 1}])
    assert run(tmp_path, sets) == 0
    problems = {row.problem for row in iter_rows(tmp_path / 'out', 'train')
                if row.data_source == 'refcoco'}
    assert problems in ({'the 0', 'the 1', 'the 0 and the 1'},
                        {'the 0', 'the 1', 'the 1 and the 0'})


def test_a_filter_by_a_segmenter_is_one_of_the_options(tmp_path, sets, capsys):
    recipe(tmp_path, [{'source': 'refcoco', 'agreement': 2.0}])
    assert run(tmp_path, sets) == 2 and 'agreement is an IoU' in capsys.readouterr().err


def test_the_truth_of_every_row_of_visionreasoners_mixture_earns_the_full_reward(tmp_path):
    sets = tmp_path / 'sets'
    mini_training.write_refs(sets / 'refcocog')
    mini_training.write_refs(sets / 'grefcoco', 'grefs(unc).json')
    mini_training.write_lvis(sets / 'lvis')
    mini_training.write_lisa_plus(sets / 'lisa_plus')
    build_mixture(read_mixture(RECIPES[1]), tmp_path / 'out', sets)
    rows = list(iter_rows(tmp_path / 'out', 'train'))
    assert {row.data_source for row in rows} == {'refcocog', 'grefcoco', 'lvis', 'lisa_plus'}
    assert sum(row.sample.ground_truth == '[]' for row in rows) == 3     # two of gRefCOCO, one
    texts = [truth_response(row.sample, 'I see.') for row in rows]
    wrong = [truth_response(replace(row.sample, ground_truth=json.dumps(
        [{'bbox_2d': [0, 0, 9, 9], 'point_2d': [4, 4]}])), 'I see.') for row in rows]
    for text, is_right in ((texts, True), (wrong, False)):
        rewards = Scorer().score_all([Rollout(*pair) for pair in zip(
            text, [row.sample for row in rows], strict=True)])
        assert all(isinstance(reward, Reward) for reward in rewards)
        assert all((reward.final == 1.0) == is_right == reward.is_correct for reward in rewards)


def test_rows_become_columns_of_a_trainer(tmp_path, sets):
    """The next command in line takes them."""
    recipe(tmp_path, PARTS, storage={'size': 840})
    run(tmp_path, sets)
    card = load_card('visionreasoner_7b').reasoner
    rows = list(iter_rows(tmp_path / 'out', 'train'))
    ready = [ready_row(row.to_columns(), place, card) for place, row in enumerate(rows)]
    assert len(ready) == 13
    for row, one in zip(rows, ready, strict=True):
        assert ' '.join(row.problem.split()).lower().rstrip('.?!') in one.prompt.user.lower()
        assert one.sample.ground_truth == row.sample.ground_truth or row.task == 'vqa'


def test_parts_are_drawn_uniformly():
    mixture = Mixture('m', (Part('a', 'sim'), Part('b', 'sim')), seed=3)
    names = drawn_parts(mixture, {'a': 600, 'b': 300})
    assert Counter(names) == {'a': 600, 'b': 300}
    thirds = [names[start:start + 300].count('b') for start in (0, 300, 600)]
    assert all(75 < number < 125 for number in thirds)


@pytest.mark.parametrize(('content', 'words'), [
    ('[', 'recipe.yaml: '), ('3', 'no list "parts"'), ('{parts: []}', 'no parts'),
    ('{parts: [3]}', 'names its source'), ('{parts: [{source: 3}]}', 'names its source'),
    ('{parts: [{source: refcocg}]}', 'did you mean "refcocog"'),
    ('{part: [], parts: []}', "unknown key 'part', is it 'parts'"),
    ('{parts: [{source: lvis, rows: 0}]}', 'part lvis: rows is a number'),
    ('{parts: [{source: lvis, rows: many}]}', 'part lvis: rows is a number'),
    ('{parts: [{source: lvis, times: 1.5}]}', 'part lvis: times is a number'),
    ('{parts: [{source: lvis}, {source: lvis}]}', 'two parts are called lvis'),
    ('{parts: [{source: lvis, name: ../x}]}', 'letters, digits'),
    ('{storage: 3, parts: [{source: lvis}]}', 'storage is a mapping'),
    ('{seed: x, parts: [{source: lvis}]}', 'seed a number'),
    ('{seed: -1, parts: [{source: lvis}]}', 'seed a number from 0 on'),
])
def test_what_is_no_recipe_is_told(tmp_path, content, words):
    path = tmp_path / 'recipe.yaml'
    path.write_text(content)
    with pytest.raises(DataSetError) as error:
        read_mixture(path)
    assert words in str(error.value)


@pytest.mark.parametrize(('options', 'words'), [
    ({'onli': 'absent'}, "unknown key 'onli', is it 'only'"), ({'only': 'two'}, 'invalid choice'),
    ({'limit': 3}, 'limit: that is for the mixture to say'), ({'seed': 'x'}, 'invalid number'),
    ({'seed': -1}, '-1 is not from 0 on'), ({'parameters': '{'}, 'invalid'),
    ({'size': 999999999}, '999999999 is not from 1 to'), ({'jpeg': 500}, 'from 1 to 100'),
])
def test_options_that_the_source_does_not_have_are_told(options, words):
    part = Part('mine', 'lvis', options=options)
    with pytest.raises(DataSetError) as error:
        part_options(part, Mixture('m', (part,), file=Path('my.yaml')), 'train', Path('sets'))
    assert words in str(error.value) and str(error.value).startswith('my.yaml: part mine: ')


def test_only_what_is_near_is_suggested(tmp_path, capsys):
    path = recipe(tmp_path, [{'source': 'sim', 'rows': 1, 'verifier': 'counting'}])
    assert main(['--mixture', str(path), '--out', str(tmp_path / 'out')]) == 2
    assert capsys.readouterr().err == f"train data: {path}: part sim: unknown key 'verifier'\n"


def test_options_of_a_part():
    part = Part('mine', 'v3det', options={
        'only': 'single', 'balanced': True, 'filters': ['most_objects=3'], 'data': 'there',
        'parameters': {'iou_threshold': 0.5}, 'min_pixels': 9})
    options = part_options(part, Mixture('m', (part,), 5, {'size': 'keep', 'min_pixels': 4}),
                           'val', Path('sets'))
    assert (options.only, options.balanced, options.filters) == (
        'single', True, ['most_objects=3'])
    assert (options.data, options.split, options.seed) == (Path('sets/there'), 'val', 5)
    assert (options.size, options.min_pixels, options.parameters) == (
        'keep', 9, {'iou_threshold': 0.5})


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes(path):
    mixture = read_mixture(path)
    assert mixture.name == path.stem and mixture.about
    for part in mixture.parts:
        options = part_options(part, mixture, 'train', Path('sets'))
        assert part.rows and builders()[part.source] and options.data == Path('sets', part.source)
    total = {'visionreasoner_7k': 7_200, 'v_triune_47k': 47_700}[mixture.name]
    assert mixture.rows == total
    text = (ROOT / 'docs/training_sets.md').read_text(encoding='utf-8')
    assert f'| `{path.name}` | {total:,} |' in text


def test_single_to_several_boxes_is_one_to_two():
    rows = {part.name: part.rows for part in read_mixture(
        ROOT / 'config/training/mixtures/v_triune_47k.yaml').parts}
    for name in ('v3det', 'objects365'):
        single, several = (rows[f'{name}_{end}'] for end in ('single', 'several'))
        assert abs(2 * single - several) <= 1
    assert rows['v3det_single'] + rows['v3det_several'] == 4000


def test_what_it_came_to_is_kept_beside_the_rows(tmp_path, sets):
    recipe(tmp_path, PARTS[:1])
    run(tmp_path, sets)
    report = json.loads((tmp_path / 'out' / 'train.mixture.json').read_text())
    assert [(one['part'], one['wanted'], one['rows']) for one in report] == [('refcoco', 2, 2)]
