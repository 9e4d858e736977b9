"""What ``./run train grpo`` can be told: what is refused, and with what a run goes on."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip('trl', reason='./run train grpo installs it')

from vr_ros.training.trainers.grpo import command, smoke  # noqa: E402
from vr_ros.training.trainers.grpo.checkpoints import SettingsError, claim  # noqa: E402
from vr_ros.training.trainers.grpo.options import (  # noqa: E402
    FREE,
    build_parser,
    check,
    parse,
    settings_of,
)

# In order, every option with a value that is not its default.
OTHERS = {
    action.dest: [action.option_strings[-1], *(
        [] if action.nargs == 0 else
        [next(one for one in action.choices if one != action.default)] if action.choices else
        ['7'])]
    for action in build_parser()._actions if action.dest not in ('help', 'data')}
OTHERS['stage'] += OTHERS['curriculum']


def options_of(*more: str):
    return parse(['--data', 'x', '--report-to', 'none', *more], smoke.SETTINGS)


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--group', '1'], '--group is at least 2'),
    (['--stage', 'a'], 'come together'),
    (['--truth-rollout', '--vllm', 'server'], 'needs --vllm off'),
    (['--steps', '9', '--warm-up', '4', '--cool-down', '6'], 'longer than --steps'),
    (['--smoke'], '--smoke makes its own data'),
    *[([f'--{name}', value], f'--{name} is at least {least}') for name, value, least in (
        ('steps', '0', 1), ('prompts', '0', 1), ('eval-steps', '0', 1), ('held-out-rows', '0', 1),
        ('keep', '0', 1), ('limit', '0', 1), ('limit', '-3', 1), ('micro-batch', '0', 1),
        ('micro-batch', '-1', 1), ('max-completion', '0', 1), ('lora-alpha', '-1', 1),
        ('lora', '-1', 0), ('beta', '-1', 0), ('epsilon', '-1', 0), ('epsilon-high', '-0.1', 0),
        ('clip-norm', '-1', 0), ('weight-decay', '-1', 0), ('picture-steps', '-1', 0),
        ('seed', '-1', 0), ('warm-up', '-1', 0), ('cool-down', '-1', 0))],
    (['--seed', str(2 ** 32)], f'--seed is at most {2 ** 32 - 1}'),
    (['--vllm-memory', '1.5'], '--vllm-memory is at most 1'),
    *[([f'--{name}', value], f'--{name} is above 0') for name in (
        'temperature', 'learning-rate', 'vllm-memory') for value in ('0', '-1')],
    *[([f'--{name}', value], f'--{name} {value} is no finite number') for name in (
        'temperature', 'learning-rate', 'beta', 'epsilon', 'epsilon-high', 'clip-norm',
        'weight-decay', 'vllm-memory') for value in ('nan', 'inf')],
    *[(['--name', name], 'is no name of a file') for name in ('a/b', '', '.', 'a\n', '/')],
])
def test_what_is_refused(arguments, message) -> None:
    check(options_of())
    with pytest.raises(ValueError, match=message):
        check(options_of(*arguments))


def test_a_service_that_is_not_installed_is_said(monkeypatch) -> None:
    monkeypatch.setattr('importlib.util.find_spec', {'tensorboard': 1, 'wandb': None}.get)
    check(options_of('--report-to', 'tensorboard'))
    with pytest.raises(ValueError, match='--report-to wandb: it is not installed: pip install w'):
        check(options_of('--report-to', 'wandb'))


def settings(*more: str) -> dict:
    return settings_of(options_of(*more))


def begun(folder: Path, content: dict) -> Path:
    """Make the folder of a run that was interrupted behind its first checkpoint."""
    (folder / 'checkpoint-1').mkdir(parents=True)
    (folder / 'checkpoint-1' / 'trainer_state.json').write_text('{"global_step": 1}')
    (folder / 'settings.json').write_text(json.dumps(content, default=str))
    return folder


@pytest.mark.parametrize('name', OTHERS)
def test_only_the_same_run_goes_on(tmp_path, name) -> None:
    folder = begun(tmp_path, settings())
    changed = options_of(*OTHERS[name])
    if name != 'curriculum':   # by what it says, see below
        assert getattr(changed, name) != getattr(options_of(), name)
    if name in FREE or name == 'curriculum':
        assert claim(folder, settings_of(changed), fresh=False) == folder / 'checkpoint-1'
        return
    before = (folder / 'settings.json').read_text()
    with pytest.raises(SettingsError, match=f'{folder} holds a run with --{name.split("_")[0]}'):
        claim(folder, settings_of(changed), fresh=False)
    assert (folder / 'settings.json').read_text() == before
    assert claim(folder, settings_of(changed), fresh=True) is None
    assert not (folder / 'checkpoint-1').exists()


def test_what_may_change() -> None:
    """A list of its own: what is new is compared, unless somebody thinks of it."""
    assert {'keep', 'picture_steps', 'report_to', 'device', 'out'} <= set(FREE)
    assert not {'steps', 'learning_rate', 'seed', 'limit', 'temperature', 'held_out_split',
                'held_out_rows', 'eval_steps', 'data', 'card'} & set(FREE)


def test_a_curriculum_is_compared_by_what_it_says(tmp_path) -> None:
    def claimed(epochs: int, name: str) -> Path | None:
        file = tmp_path / name
        file.write_text(json.dumps({'name': 'own', 'rollouts': 4, 'stages': [{
            'name': 'boxes', 'kind': 'reward', 'rows': ['medium'], 'epochs': epochs}]}))
        options = options_of('--curriculum', str(file), '--stage', 'boxes')
        return claim(tmp_path / 'out', command.settings_with_stage(options), fresh=False)

    claimed(1, 'own.json')
    begun(tmp_path / 'out', json.loads((tmp_path / 'out' / 'settings.json').read_text()))
    assert claimed(1, 'other_name.json')
    with pytest.raises(SettingsError, match='another --curriculum: give another --out'):
        claimed(2, 'own.json')


def test_a_run_of_an_older_version_goes_on_and_is_compared_from_then_on(tmp_path) -> None:
    older = {'card': 'sim_tiny', 'data': ['x'], 'steps': 400, 'prompts': 16, 'group': 8}
    folder = begun(tmp_path, older)
    with pytest.raises(SettingsError, match='--group 8, not 4'):
        claim(folder, settings('--group', '4'), fresh=False)
    assert claim(folder, settings('--seed', '3'), fresh=False)
    with pytest.raises(SettingsError, match='--seed 3, not 4'):
        claim(folder, settings('--seed', '4'), fresh=False)


@pytest.mark.parametrize(('out', 'more', 'message'), [
    *[(out, more, 'Not a directory|File exists') for out in ('file', 'file/below')
      for more in ([], ['--fresh'])],
    ('damaged', [], 'settings.json is damaged'),
    ('other', [], 'holds a run with --group 3, not 8'),
    ('other', ['--fresh', '--data', 'nowhere'], '--data nowhere: there is no such folder'),
    ('other', ['--fresh', '--train-split', 'none'], r'no none-\*.parquet'),
    ('other', ['--fresh', '--card', 'nobody'], 'nobody'),
])
def test_what_is_refused_before_anything_is_read_or_removed(
        tmp_path, out, more, message, capsys) -> None:
    (tmp_path / 'file').touch()
    (begun(tmp_path / 'damaged', {}) / 'settings.json').write_text('{"gro')
    begun(tmp_path / 'other', {'group': 3})
    (tmp_path / 'train-00000-of-00001.parquet').touch()   # nobody looks into it
    status = command.main(['--data', str(tmp_path), '--out', str(tmp_path / out), '--device', 'cpu',
                           '--report-to', 'none', *more])
    said = capsys.readouterr().err
    assert status == 2 and re.match(f'train grpo: .*({message}).*\n$', said), said
    assert (tmp_path / 'other' / 'checkpoint-1').exists()


def test_the_two_minutes_have_a_folder_and_defaults_of_their_own() -> None:
    options = parse(['--smoke', '--steps', '3'], smoke.SETTINGS)
    check(options)
    assert options.out == Path('runs/grpo_smoke')
    assert {name: getattr(options, name) for name in smoke.SETTINGS} == smoke.SETTINGS | {
        'steps': 3}
    assert parse(['--smoke', '--out', 'runs/grpo'], smoke.SETTINGS).out == Path('runs/grpo')
    assert build_parser().parse_args([]).out == Path('runs/grpo')


def test_the_two_minutes_make_no_data_in_the_folder_of_another_run(tmp_path, capsys) -> None:
    begun(tmp_path, settings_of(options_of('--card', 'sim_tiny')))
    assert command.main(['--smoke', '--out', str(tmp_path)]) == 2
    assert f'{tmp_path} holds a run with --' in capsys.readouterr().err
    assert {one.name for one in tmp_path.iterdir()} == {'checkpoint-1', 'settings.json'}


@pytest.mark.parametrize(('value', 'start', 'said'), [
    (0.5, 0.25, '0.5000, up from 0.2500'),
    (0.25, 0.5, '0.2500, NOT better than 0.5000'),
    (0.06891, 0.06892, '0.06891, NOT better than 0.06892'),
    (0.1 + 0.2, 0.3, '0.30000000000000004, up from 0.29999999999999999'),
    (0.5, 0.5, '0.5000, NOT better: the same as'),
])
def test_figures_are_told_apart(value, start, said) -> None:
    assert command.compared(value, start) == said


def test_defaults_are_told_once() -> None:
    said = ' '.join(build_parser().format_help().split())
    assert 'None' not in said and not re.search(r'\(default: [^)]*\) \(default', said)
    for one in ('twice the rank)', '<card>_grpo)', 'updates of the weights (default: 400)'):
        assert one in said
