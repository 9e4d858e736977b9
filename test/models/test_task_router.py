"""Routers by card: a table of words, a language model, and what happens when they are not sure."""
from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from vr_ros.core.router import render_router_chat, route
from vr_ros.core.types import PerceptionError, Status, Task
from vr_ros.core.word_router import CLASSES, Vocabulary, WordRouter, features_of, hash_of
from vr_ros.models.card_types import DtypeCard, RouterCard, WeightsCard
from vr_ros.models.language_router import LanguageRouter
from vr_ros.models.task_router import (
    TaskRouter,
    ask_words,
    load_task_router,
    load_word_router,
    save_word_router,
)
from vr_ros.training.trainers.sim_tokenizer import build_tokenizer

# What the language model made by hand goes by: words, and the digits of VisionReasoner's types.
CUES = {'find': '1', 'segment': '1', 'many': '2', 'paint': '3'}
HASHES, SHARPNESS = '####', 100.0


def table(weights: dict[str, list[int]], words: str) -> WordRouter:
    """Make a table in which a weight of 127 is 1."""
    rows = sorted((hash_of(name), row) for name, row in weights.items())
    return WordRouter(
        np.array(sorted(map(hash_of, words.split())), np.uint32),
        np.array([key for key, _ in rows], np.uint32),
        np.array([row for _, row in rows], np.int8),
        np.full(len(CLASSES), 1 / 127, np.float32), np.zeros(len(CLASSES), np.float32))


TABLE = table({'how many': [0, 0, 127, 0, 0], 'paint': [0, 0, 0, 127, 0],
               '^ _ $': [127, 0, 0, 0, 0]}, 'how many paint')


@pytest.mark.parametrize(('text', 'found'), [
    # Words that are not known are one gap, their letters count by threes.
    ('Find mugs!', {'_', '!', '^ _', '_ !', '! $', '^ _ !', '_ ! $', '^ _ ! $', '^', '$',
                    '^ ~ !', '_ ~ $', '^ ~ $', 'c _', 'c _ !', 'c _ ! $', 'l _', 'l _ !',
                    'l _ ! $', 'x <fi', 'x fin', 'x ind', 'x nd>', 'x <mu', 'x mug', 'x ugs',
                    'x gs>', 'r DETECTION', 'r DETECTION True'}),
    # The second clause begins anew, and is the last; numbers are alike.
    ('how, 12', {'how', ',', '#', '^ how', 'how ,', ', #', '# $', '^ how ,', 'how , #', ', # $',
                 '^ how , #', 'how , # $', '^', '$', '^ ~ ,', '^ ~ #', '^ ~ $', 'how ~ #',
                 'how ~ $', ', ~ $', 'c how', 'c how ,', 'c how , #', 'c #', 'c # $', 'l #',
                 'l # $', 'r VQA', 'r VQA True'}),
])
def test_features(text: str, found: set[str]) -> None:
    assert features_of(text, Vocabulary({'how'}.__contains__), route(text)) == found


@pytest.mark.parametrize(('text', 'wanted', 'refused'), [
    ('do not count them, find it', 'c find it', {'n count', 'n  count', 'n them', 'n count them'}),
    ('find it without count', 'c find it', {'n count', 'n  count'}),
    ('count instead of find', 'c count instead', {'n of', 'n  of', 'n find', 'n of find'}),
    ('do not find it but count', 'but count', {'n find', 'n  find', 'n it', 'n find it'}),
    ('why not count it', 'c why not', set()),              # a proposal
    ("don't you count it", "c don't you", set()),          # a question
    ('do not forget count', 'c do not', set()),            # wanted all the more
    ('find it, or not', 'c find it', set()),               # nothing follows
])
def test_what_is_refused_counts_apart(text, wanted, refused) -> None:
    known = {'do', 'not', "don't", 'count', 'find', 'it', 'them', 'why', 'without', 'instead', 'of',
             'but', 'you', 'forget'}
    found = features_of(text, Vocabulary(known.__contains__), None)
    assert {name for name in found if name.startswith('n ')} == refused
    assert wanted in found


@pytest.mark.parametrize(('written', 'meant'), [
    ('count', 'count'), ('cuont', 'count'), ('countt', 'count'), ('loate', 'locate'),
    ('many', 'many'), ('mnay', 'many'), ('manyy', 'many'), ('counting', ''),
    ('loca', ''), ('man', ''),     # four letters: too many words are like it
    ('court', ''),                 # a word of its own
    ('vount', ''),                 # the first letter is taken to be right
    ('cunot', ''), ('c', ''), ('', ''), ('count' * 4, ''),
])
def test_typing_errors_are_read_over(written: str, meant: str) -> None:
    assert Vocabulary({'count', 'many', 'locate'}.__contains__).read(written) == meant


def test_an_ing_form_is_a_verb_where_an_order_is_wrapped_so() -> None:
    known = Vocabulary({'mind', 'count', 'man', 'a'}.__contains__)
    assert 'mind count' in features_of('mind counting', known, None)
    assert 'man _' in features_of('a man counting', known, None)


@pytest.mark.parametrize(('text', 'kind', 'weight', 'features'), [
    ('how many ducks', 'counting', 1, 1), ('ducks', 'detection', 1, 1),
    ('paint how many', 'counting', 1 / math.sqrt(2), 2), ('quack, quack', 'detection', 0, 0)])
def test_probabilities_are_those_of_the_formula(text, kind, weight, features) -> None:
    scores = np.zeros(5)
    scores[CLASSES.index(kind)] = weight
    if features == 2:
        scores[CLASSES.index('editing')] = weight
    expected = np.exp(scores) / np.exp(scores).sum()
    assert TABLE.probabilities(text) == pytest.approx(expected)


def test_a_long_story_is_read_at_both_ends() -> None:
    story = 'how many ' + 'quack. ' * 20_000 + ' paint'
    found = TABLE.probabilities(story)
    assert found[CLASSES.index('counting')] > found[0]
    assert found[CLASSES.index('editing')] > found[0]


@pytest.mark.parametrize(('text', 'least', 'default', 'task'), [
    ('how many ducks', 0.4, Task.AUTO, Task.COUNTING),    # 0.405 is enough
    ('how many ducks', 0.41, Task.AUTO, Task.COUNTING),   # not here, but the rules say so, too
    ('paint how much?', 0.5, Task.AUTO, Task.VQA),        # editing and VQA are one task: 0.576
    ('duck', 0.9, Task.SEGMENTATION, Task.DETECTION),     # the rules are sure of a name
    ('who runs', 0.9, Task.AUTO, Task.DETECTION),         # the rules guess
    ('who runs', 0.9, Task.SEGMENTATION, Task.SEGMENTATION),   # and the card says better
])
def test_an_unsure_model_is_not_believed(text, least, default, task) -> None:
    router = TaskRouter(RouterCard('words', min_probability=least, default=default),
                        ask_words(TABLE))
    assert router.task_of(text) is task


def test_a_model_that_says_nothing_leaves_it_to_the_rules() -> None:
    router = TaskRouter(RouterCard(min_probability=0.0), lambda text: (Task.VQA, math.nan))
    assert router.task_of('how many cups') is Task.COUNTING


def test_a_repeated_instruction_is_asked_once() -> None:
    asked: list[str] = []

    def ask(text: str) -> tuple[Task, float]:
        asked.append(text)
        return Task.VQA, 1.0

    router = TaskRouter(ask=ask)
    assert [router.task_of(text) for text in ('cup', 'cup', 'mug', 'cup')] == [Task.VQA] * 4
    assert asked == ['cup', 'mug', 'cup']


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    save_word_router(TABLE, tmp_path)
    back = load_word_router(tmp_path)
    for name in ('words', 'features', 'weights', 'scales', 'bias'):
        assert np.array_equal(getattr(back, name), getattr(TABLE, name))
        assert getattr(back, name).dtype == getattr(TABLE, name).dtype
    card = RouterCard('words', WeightsCard(path=tmp_path), min_probability=0.3)
    assert load_task_router(card, 'cpu').task_of('how many ducks') is Task.COUNTING


def write_tensors(**changes: np.ndarray) -> Callable[[Path], None]:
    names = ('words', 'features', 'weights', 'scales', 'bias')
    tensors = {name: getattr(TABLE, name) for name in names} | changes
    return lambda folder: save_file(tensors, folder / 'model.safetensors')


def write_config(**changes: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / 'config.json'
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return write


@pytest.mark.parametrize(('damage', 'says'), [
    (lambda folder: (folder / 'config.json').unlink(), 'config.json'),
    (lambda folder: (folder / 'config.json').write_text('[]'), 'config.json'),
    (lambda folder: (folder / 'model.safetensors').unlink(), 'no .*safetensors'),
    (lambda folder: (folder / 'model.safetensors').write_bytes(b'x' * 99), 'damaged'),
    (write_config(model_type='qwen2'), 'model_type is .qwen2., expected .word_router'),
    (write_config(features=0), 'features is 0'),
    (write_config(classes=['vqa']), 'classes is'),
    (write_tensors(more=np.zeros(1)), 'expected words, features'),
    (write_tensors(bias=np.zeros(5)), 'other types'),                        # float64
    (write_tensors(bias=np.zeros(4, np.float32)), r'bias is \(4,\), expected \(5,\)'),
    (write_tensors(weights=np.zeros((2, 5), np.int8)), r'weights is \(2, 5\)'),
    (write_tensors(features=TABLE.features[::-1].copy()), 'do not ascend'),
    (write_tensors(words=np.zeros((1, 1), np.uint32)), 'do not ascend'),
    (write_tensors(bias=np.full(5, np.nan, np.float32)), 'not finite'),
    (write_tensors(features=np.zeros(0, np.uint32), weights=np.zeros((0, 5), np.int8)),
     'no features'),
])
def test_a_damaged_table_is_refused(tmp_path: Path, damage, says: str) -> None:
    save_word_router(TABLE, tmp_path)
    damage(tmp_path)
    with pytest.raises(PerceptionError, match=says) as caught:
        load_task_router(RouterCard('words', WeightsCard(path=tmp_path)), 'cpu')
    assert caught.value.status is Status.MODEL_UNAVAILABLE
    assert '\n' not in caught.value.message


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    """A Qwen2 whose weights are set by hand: it writes ####, the digit of a cue, and ends.

    Its attention gives the mean of the cues; every dimension stands for one thing.
    """
    directory = tmp_path_factory.mktemp('router')
    tokenizer = build_tokenizer(['a cup'], [*CUES, HASHES], [], vocab_size=300)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, tie_word_embeddings=False))
    # As the original's settings may: greedy all the same.
    model.generation_config.update(do_sample=True, temperature=5.0)
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter) if parameter.ndim == 1 else torch.nn.init.zeros_(parameter)
    embedded, head, attention = (model.model.embed_tokens.weight, model.lm_head.weight,
                                 model.model.layers[0].self_attn)
    token = {text: tokenizer(text, add_special_tokens=False).input_ids
             for text in ('\n', HASHES, *CUES, *'1234', '<|im_end|>')}
    assert all(len(ids) == 1 for ids in token.values())
    with torch.no_grad():
        for bias in (attention.q_proj, attention.k_proj, attention.v_proj):
            bias.bias.zero_()
        attention.v_proj.weight[1:5, 1:5] = torch.eye(4)
        attention.o_proj.weight.copy_(SHARPNESS * torch.eye(16))
        embedded[token['\n'], 5] = embedded[token[HASHES], 6] = 1.0
        head[token[HASHES], 5] = 9.0
        head[token['<|im_end|>'], 7] = 20.0
        for cue, digit in CUES.items():
            embedded[token[cue], int(digit)] = 1.0
        for digit in '1234':
            embedded[token[digit], 7] = 1.0
            head[token[digit], 6] = 12.0
            head[token[digit], int(digit)] = 1.0
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def qwen2_card(directory: Path, **changes: object) -> RouterCard:
    return replace(RouterCard('qwen2', WeightsCard(path=directory), 0.5,
                              dtype=DtypeCard('bfloat16', {'cpu': 'float32'}),
                              max_new_tokens=16), **changes)


@pytest.mark.parametrize(('text', 'task'), [
    ('find the cup', Task.DETECTION),       # 1; the rules tell which of two it is
    ('segment the cup', Task.SEGMENTATION),
    ('which paint', Task.VQA),              # 3: nothing here edits; the rules would say DETECTION
    ('a cup, many', Task.COUNTING),         # 2; the rules would say DETECTION
    ('a cup', Task.DETECTION),              # no cue, four digits alike: the rules decide
])
def test_a_language_model_picks_tasks(checkpoint: Path, text: str, task: Task) -> None:
    assert load_task_router(qwen2_card(checkpoint), 'cpu').task_of(text) is task


def test_its_probability_is_that_of_the_digit(checkpoint: Path) -> None:
    router = LanguageRouter(qwen2_card(checkpoint), checkpoint, 'cpu')
    prompt = render_router_chat('many') + HASHES
    tokens = len(router._tokenizer(prompt, add_special_tokens=False).input_ids)
    # One cue among the tokens, normalised to a root mean square of 1: 4 in one of 16 dimensions.
    hidden = np.zeros(16)
    hidden[2], hidden[6] = SHARPNESS * 4 / tokens, 1.0
    hidden /= np.sqrt((hidden ** 2).mean())
    powers = np.exp([12 * hidden[6] + hidden[digit] for digit in (1, 2, 3, 4)])
    others = len(router._tokenizer) - 4
    task, probability = router.reply('many')
    assert task is Task.COUNTING
    assert probability == pytest.approx(powers[1] / (powers.sum() + others), rel=1e-3)


def test_a_reply_that_is_cut_off_is_not_believed(checkpoint: Path) -> None:
    card = qwen2_card(checkpoint, max_new_tokens=1, min_probability=0.0)
    task, probability = LanguageRouter(card, checkpoint, 'cpu').ask('many')
    assert task is Task.VQA and math.isnan(probability)
    assert load_task_router(card, 'cpu').task_of('count many') is Task.COUNTING   # by the rules


@pytest.mark.parametrize(('damage', 'says'), [
    (lambda folder: (folder / 'model.safetensors').write_bytes(b'x' * 99), 'is damaged'),
    (lambda folder: [path.unlink() for path in folder.glob('tokenizer*')], 'no tokenizer|qwen2'),
    (lambda folder: write_config(num_hidden_layers=3, layer_types=['full_attention'] * 3)(folder),
     'lacks .* tensors, such as model.layers.1'),
    (lambda folder: write_config(intermediate_size=64)(folder), 'other shapes|cannot be loaded'),
])
def test_a_damaged_language_model_is_refused(checkpoint, tmp_path, damage, says) -> None:
    for path in checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damage(tmp_path)
    with pytest.raises(PerceptionError, match=says) as caught:
        load_task_router(qwen2_card(tmp_path), 'cpu')
    assert caught.value.status is Status.MODEL_UNAVAILABLE
    assert '\n' not in caught.value.message
