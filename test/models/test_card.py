"""Model cards: the shipped ones match their checkpoints; wrong ones say what is wrong."""
from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from vr_ros.core.prompt import clean_question, render_chat
from vr_ros.core.types import PerceptionError, Size, Status, Task
from vr_ros.models.card import ModelCard, known_cards, load_card
from vr_ros.models.card_types import DtypeCard, RouterCard, WeightsCard

MINIMAL = {
    'description': 'for tests', 'licence': 'Apache-2.0',
    'reasoner': {
        'weights': {'path': 'weights/reasoner'}, 'family': 'qwen2_5_vl', 'dtype': 'float32',
        'coordinates': 'absolute_resized', 'image': {'size': [56, 84]}, 'max_new_tokens': 8,
        'prompts': {'objects': {'user': 'Find {Question}', 'question': 'verbatim'}},
    },
}


def write_card(directory: Path, changes: dict[str, object], name: str = 'mine') -> Path:
    """Write MINIMAL with changes such as {"reasoner.stop": ["x"]}; None removes a key."""
    values = yaml.safe_load(yaml.safe_dump(MINIMAL))
    for key, value in changes.items():
        *parents, last = key.split('.')
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    path = directory / f'{name}.yaml'
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    'name', ['visionreasoner_7b', 'seg_zero_7b', 'qwen2_5_vl_7b', 'qwen3_vl_4b']
)
def test_shipped_card_serves_every_task(name):
    card = load_card(name)
    assert card.name == name
    for task in (Task.DETECTION, Task.SEGMENTATION, Task.COUNTING, Task.VQA):
        assert '{Question}' in card.reasoner.template(task).user
    assert card.reasoner.template(Task.VQA).user == '{Question}'
    assert card.reasoner.question_style(Task.VQA) == 'verbatim'
    assert card.reasoner.image(Task.VQA).size is None
    assert card.segmenter is not None
    assert card.segmenter.image_size == 1024


def test_visionreasoner_prompt_is_the_published_one():
    # The literal user turn of the reference's inference, sentences joined without spaces.
    expected = (
        '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n'
        '<|im_start|>user\n<|vision_start|>' + '<|image_pad|>' * 900 + '<|vision_end|>'
        'Please find "the red cup" with bboxs and points.Compare the difference between object(s) '
        'and find the most closely matched object(s).Output the thinking process in <think> '
        '</think> and final answer in <answer> </answer> tags.Output the bbox(es) and point(s) '
        'inside the interested object(s) in JSON format.i.e., <think> thinking process here '
        '</think><answer>[{"bbox_2d": [10,100,200,210], "point_2d": [30,110]}, '
        '{"bbox_2d": [225,296,706,786], "point_2d": [302,410]}]</answer><|im_end|>\n'
        '<|im_start|>assistant\n'
    )
    reasoner = load_card('visionreasoner_7b').reasoner
    assert reasoner.image(Task.DETECTION).size == Size(840, 840)
    assert reasoner.max_new_tokens == 2048
    assert reasoner.stop == ('</answer>',)
    for task in (Task.DETECTION, Task.SEGMENTATION, Task.COUNTING):
        question = clean_question('The red cup?', reasoner.question_style(task))
        assert render_chat(reasoner.template(task), question, 900) == expected


def test_cards_differ_where_their_checkpoints_do():
    assert load_card('qwen3_vl_4b').reasoner.coordinates == 'relative_1000'
    assert load_card('qwen3_vl_4b').reasoner.template(Task.VQA).system == ''
    assert load_card('seg_zero_7b').reasoner.template(Task.DETECTION).example.startswith("{'bbox'")
    baseline = load_card('qwen2_5_vl_7b').reasoner
    assert baseline.template(Task.COUNTING).user == (
        'Locate "{Question}", report the bboxes coordinates in JSON format.'
    )
    assert baseline.image(Task.DETECTION).size is None


def test_minimal_card(tmp_path):
    card = load_card(write_card(tmp_path, {}))
    assert card.name == 'mine'
    assert card.segmenter is None
    assert card.reasoner.weights.path == tmp_path / 'weights' / 'reasoner'
    assert card.reasoner.stop == ()
    with pytest.raises(PerceptionError, match='no prompt for vqa') as caught:
        card.reasoner.template(Task.VQA)
    assert caught.value.status == Status.BAD_INSTRUCTION


def test_task_overrides_objects(tmp_path):
    card = load_card(write_card(tmp_path, {'reasoner.prompts.counting': {
        'user': 'How many {Question}', 'question': 'visionreasoner', 'image': {'size': [28, 28]},
    }}))
    assert card.reasoner.template(Task.COUNTING).user == 'How many {Question}'
    assert card.reasoner.image(Task.COUNTING).size == Size(28, 28)
    assert card.reasoner.template(Task.DETECTION).user == 'Find {Question}'
    assert card.reasoner.image(Task.DETECTION).size == Size(56, 84)


def test_dtype_by_device(tmp_path):
    dtype = {'default': 'bfloat16', 'cpu': 'float32'}
    card = load_card(write_card(tmp_path, {'reasoner.dtype': dtype}))
    assert card.reasoner.dtype_for('cuda') == 'bfloat16'
    assert card.reasoner.dtype_for('cpu') == 'float32'


META_SEGMENTER = {
    'backend': 'sam2', 'weights': {'path': 'large.pt'}, 'image_size': 1024, 'dtype': 'float32',
    'config': 'configs/sam2.1/sam2.1_hiera_l.yaml',
}


def test_segmenter_backends(tmp_path):
    own = {'weights': {'path': 'sam2'}, 'image_size': 1024, 'dtype': 'float32'}
    segmenter = load_card(write_card(tmp_path, {'segmenter': own})).segmenter
    assert (segmenter.backend, segmenter.config) == ('transformers', '')
    segmenter = load_card(write_card(tmp_path, {'segmenter': META_SEGMENTER})).segmenter
    assert segmenter.backend == 'sam2'
    assert segmenter.config == 'configs/sam2.1/sam2.1_hiera_l.yaml'
    assert segmenter.weights.path == tmp_path / 'large.pt'


@pytest.mark.parametrize(('config', 'expected'), [
    ('./mine.yaml', '{card}/mine.yaml'), ('../mine.yaml', '{parent}/mine.yaml'),
    ('/etc/mine.yaml', '/etc/mine.yaml'), ('mine.yaml', 'mine.yaml'),  # the last is a name
])
def test_own_segmenter_configurations_are_relative_to_the_card(tmp_path, config, expected):
    card = load_card(write_card(tmp_path, {'segmenter': META_SEGMENTER | {'config': config}}))
    assert card.segmenter.config == expected.format(card=tmp_path, parent=tmp_path.parent)


@pytest.mark.parametrize(('router', 'expected'), [
    (None, RouterCard()),
    ('rules', RouterCard()),
    ({'kind': 'rules', 'default': 'vqa'}, RouterCard(default=Task.VQA)),
    ({'kind': 'words', 'weights': {'path': 'r'}, 'min_probability': 0},
     RouterCard('words', WeightsCard(path=Path('r')), 0.0)),
    ({'kind': 'qwen2', 'weights': {'hub': 'Ricky06662/TaskRouter-1.5B'},
      'dtype': {'default': 'bfloat16', 'cpu': 'float32'}, 'default': 'detection',
      'max_new_tokens': 64},
     RouterCard('qwen2', WeightsCard('Ricky06662/TaskRouter-1.5B'), 0.5, Task.DETECTION,
                DtypeCard('bfloat16', {'cpu': 'float32'}), 64)),
], ids=['none', 'rules', 'default', 'words', 'qwen2'])
def test_router(tmp_path, router, expected):
    found = load_card(write_card(tmp_path, {} if router is None else {'router': router})).router
    if expected.weights and expected.weights.path:
        expected = replace(expected, weights=WeightsCard(path=tmp_path / expected.weights.path))
    assert found == expected


@pytest.mark.parametrize(('changes', 'message'), [
    # misspelt optional, misspelt required, and unknown keys
    ({'reasoner.stopp': []}, 'reasoner: unknown key "stopp".*nearest: "stop"'),
    ({'reasoner.family': None, 'reasoner.familly': 'qwen2_5_vl'},
     'reasoner.family: missing.*nearest: "familly"'),
    ({'extra': 1}, 'unknown key "extra"'),
    # optional ones that are absent are known all the same
    ({'segmentr': {}}, 'known: .*reasoner, segmenter, router.*nearest: "segmenter"'),
    ({'reasoner.prompts.counts': {}}, 'known: objects, detection, segmentation, counting, vqa'),
    # missing or of the wrong type
    ({'licence': None}, 'licence: missing, expected a text'),
    ({'description': 7}, 'description: expected a text, got 7'),
    ({'reasoner': 'qwen'}, "reasoner: expected a mapping, got 'qwen'"),
    # not among the known words
    ({'reasoner.family': 'qwen2_vl'}, 'family: unknown "qwen2_vl".*nearest: "qwen2_5_vl"'),
    ({'reasoner.coordinates': 'px'}, 'coordinates: unknown "px"; known: absolute_resized'),
    ({'reasoner.dtype': 'int4'}, 'reasoner.dtype: unknown "int4"'),
    ({'reasoner.dtype': {'default': 'float32', 'cpu': 'f32'}}, 'dtype.cpu: unknown "f32"'),
    ({'reasoner.prompts.objects.question': 'loud'}, 'question: unknown "loud"'),
    ({'router': 'oracle'}, 'router: unknown "oracle"; known: rules, words, qwen2'),
    ({'router': 'words'}, 'router: words needs weights'),
    ({'router': {'kind': 'words'}}, 'router.weights: missing, expected a mapping'),
    ({'router': {'kind': 'word', 'weights': {'path': 'r'}}}, 'kind: unknown "word".*"words"'),
    ({'router': {'kind': 'words', 'weights': {'path': 'r'}, 'min_probability': 1.5}},
     'router.min_probability: expected a finite number from 0 to 1, got 1.5'),
    ({'router': {'kind': 'words', 'weights': {'path': 'r'}, 'default': 'depth'}},
     'router.default: unknown "depth"; known: rules, detection'),
    ({'router': {'kind': 'words', 'weights': {'path': 'r'}, 'dtype': 'float32'}},
     'router: unknown key "dtype"'),
    ({'router': {'kind': 'qwen2', 'weights': {'path': 'r'}}}, 'router.dtype: missing'),
    ({'router': {'kind': 'rules', 'weights': {'path': 'r'}}}, 'router: unknown key "weights"'),
    # image: no multiple of 28, one edge, no area, not whole, neither size nor limits, both
    ({'reasoner.image.size': [840, 850]}, r'image.size: expected \[width, height\] in multiples'),
    ({'reasoner.image.size': [840]}, 'image.size: expected'),
    ({'reasoner.image.size': [0, 28]}, 'image.size: expected'),
    ({'reasoner.image.size': [28.0, 28]}, 'image.size: expected'),
    ({'reasoner.image': {}}, 'image.min_pixels: missing'),
    ({'reasoner.image.min_pixels': 4}, 'image: unknown key "min_pixels"'),
    ({'reasoner.image': {'min_pixels': 9, 'max_pixels': 8}}, 'min_pixels: 9 is above max_pixels 8'),
    # generation: nothing to write, a bool, an empty stop text, a text for a list
    ({'reasoner.max_new_tokens': 0}, 'max_new_tokens: must be above 0'),
    ({'reasoner.max_new_tokens': True}, 'max_new_tokens: expected a whole number, got True'),
    ({'reasoner.stop': ['']}, 'stop: expected a list of texts'),
    ({'reasoner.stop': '</answer>'}, 'stop: expected a list'),
    # prompts: none, no question, an example without its place, and the other way round
    ({'reasoner.prompts': {}}, 'prompts: no prompt at all'),
    ({'reasoner.prompts.objects.user': 'Find it'}, r'user: has no \{Question\}'),
    ({'reasoner.prompts.objects.user': '{Question} {Answer}'}, 'example: is what {Answer}'),
    ({'reasoner.prompts.objects.example': '[]'}, 'example: is what {Answer}'),
    # weights: from nowhere, from two places, a revision of a directory, a short digest
    ({'reasoner.weights': {}}, 'weights: give either hub'),
    ({'reasoner.weights': {'hub': 'a/b', 'path': 'c'}}, 'weights: give either hub'),
    ({'reasoner.weights.revision': 'main'}, 'weights.revision: only for weights on the hub'),
    ({'reasoner.weights.sha256': {'m.safetensors': 'abc'}}, 'm.safetensors: expected 64 hex'),
    ({'segmenter': {'weights': {'path': 's'}, 'dtype': 'float32'}}, 'image_size: missing'),
    # segmenter: no such back-end, Meta's without a configuration, not by path, another file's
    # digest, a home that is none; a configuration for the other back-end
    ({'segmenter': META_SEGMENTER | {'backend': 'sam3'}},
     'segmenter.backend: unknown "sam3"; known: transformers, sam2.*nearest: "sam2"'),
    ({'segmenter': META_SEGMENTER | {'config': None}}, 'segmenter.config: missing'),
    ({'segmenter': META_SEGMENTER | {'weights': {'hub': 'facebook/sam2.1-hiera-large'}}},
     'segmenter.weights.hub: backend sam2 takes its checkpoint by path'),
    ({'segmenter': META_SEGMENTER | {'weights': {'path': 'a.pt', 'sha256': {'b.pt': '0' * 64}}}},
     'segmenter.weights.sha256: expected the digest of a.pt alone'),
    ({'segmenter': META_SEGMENTER | {'config': '~nobody-of-this-name/mine.yaml'}},
     'segmenter.config: Could not determine home'),
    ({'segmenter': META_SEGMENTER | {'backend': 'transformers'}},
     'segmenter.config: only with backend: sam2'),
])
def test_wrong_card_names_file_and_key(tmp_path, changes, message):
    path = write_card(tmp_path, changes)
    with pytest.raises(PerceptionError, match=message) as caught:
        load_card(path)
    assert caught.value.status == Status.MODEL_UNAVAILABLE
    assert caught.value.message.startswith(f'{path}: ')
    assert '\n' not in caught.value.message


@pytest.mark.parametrize('text', [
    'description: [unclosed',   # broken YAML
    '- a\n- b\n',               # a list
    '',                         # empty
    'a: !!python/object/apply:os.getcwd []',  # code
])
def test_unreadable_card(tmp_path, text):
    path = tmp_path / 'broken.yaml'
    path.write_text(text)
    with pytest.raises(PerceptionError, match='broken.yaml') as caught:
        load_card(path)
    assert '\n' not in caught.value.message


def test_unknown_name_tells_the_nearest():
    with pytest.raises(PerceptionError, match='unknown model card "visionreasoner7b"') as caught:
        load_card('visionreasoner7b')
    assert caught.value.status == Status.MODEL_UNAVAILABLE
    assert '(nearest: "visionreasoner_7b")' in caught.value.message
    assert 'qwen3_vl_4b' in caught.value.message


def test_missing_file():
    with pytest.raises(PerceptionError, match='no model card at /nowhere/x.yaml'):
        load_card('/nowhere/x.yaml')


def test_directories_of_the_environment_come_first(tmp_path, monkeypatch):
    first, second = tmp_path / 'first', tmp_path / 'second'
    first.mkdir()
    second.mkdir()
    write_card(first, {'description': 'first'}, 'own')
    write_card(second, {'description': 'second'}, 'own')
    write_card(second, {'description': 'replaced'}, 'seg_zero_7b')
    monkeypatch.setenv('VR_ROS_MODELS_PATH', f'{first}:{second}:{tmp_path / "absent"}')
    assert load_card('own').description == 'first'
    assert load_card('seg_zero_7b').description == 'replaced'
    assert 'visionreasoner_7b' in known_cards()


def test_installed_share_directory(tmp_path, monkeypatch):
    models = tmp_path / 'share' / 'vr_ros' / 'config' / 'models'
    models.mkdir(parents=True)
    write_card(models, {}, 'installed')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    card = load_card('installed')
    assert isinstance(card, ModelCard)


def test_cards_load_without_torch():
    code = (
        'import sys, vr_ros.models.card as card; card.load_card("visionreasoner_7b"); '
        'print("torch" in sys.modules)'
    )
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=True,
        cwd=Path(__file__).parents[2],
    )
    assert result.stdout.strip() == 'False'
