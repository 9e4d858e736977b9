"""Rows of words alone: only what follows from the words is learnt, and it is true of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / 'sim'))
from factories import make_frame, make_object  # noqa: E402

from vr_ros.core.types import Size  # noqa: E402
from vr_ros.models.card import load_card  # noqa: E402
from vr_ros.sim.truth import COLOURS, KINDS, SIZES  # noqa: E402
from vr_ros.training.trainers.sim_batches import IGNORED, BatchMaker  # noqa: E402
from vr_ros.training.trainers.sim_model import Architecture, LayerTap, build_model  # noqa: E402
from vr_ros.training.trainers.sim_tiny import make_tokenizer  # noqa: E402
from vr_ros.training.trainers.sim_word_head import (  # noqa: E402
    WordHead,
    next_level,
    word_losses,
)
from vr_ros.training.trainers.sim_words import (  # noqa: E402
    CONTRADICTS,
    FITS,
    GROUPS,
    NOT_ASKED,
    SPREAD_UP_TO,
    WordRows,
)

SIZE = Size(168, 168)
CELL_PX = 28 * 640 / 168
# The third stands right below the first, so that no column tells which is farther left.
FRAME = make_frame(
    make_object(1, 'small red cube', 100, 100),
    make_object(2, 'large blue ball', 500, 120, extent=80),
    make_object(3, 'large red ball', 102, 330),
    make_object(4, 'medium green cone', 330, 380),
)
ITEM = re.compile(r'r\dc(\d) (small|medium|large) (\w+) (\w+)(?: (yes|no|reference))?')


class OneFrame:
    """A bank of one frame."""

    def __len__(self) -> int:
        return 1

    def truth(self, index: int):
        return FRAME


@pytest.fixture(scope='module')
def rows():
    card = load_card('sim_tiny')
    batches = BatchMaker(
        OneFrame(), make_tokenizer(card, SIZE), card.reasoner, SIZE, seed=1, checks=0)
    return WordRows(batches, colours=len(COLOURS), groups=len(GROUPS))


@pytest.fixture(scope='module')
def batch(rows):
    return rows.draw(500)


def texts(rows, batch) -> list[tuple[str, list[str], list[bool]]]:
    """Prompt, tokens of the response, and which of them are learnt."""
    told = []
    opening = rows.batches.tokenizer.convert_tokens_to_ids('<think>')
    for ids, mask, labels in zip(batch.input_ids, batch.attention_mask, batch.labels, strict=True):
        tokens = ids[mask.bool()].tolist()
        begin = tokens.index(opening)
        response = [rows.batches.tokenizer.decode([token]) for token in tokens[begin:]]
        told.append((rows.batches.tokenizer.decode(tokens[:begin]), response,
                     (labels[mask.bool()][begin:] != IGNORED).tolist()))
    return told


def test_rows_have_no_image_and_prompts_are_not_learnt(rows, batch):
    image = rows.batches.tokenizer.convert_tokens_to_ids('<|image_pad|>')
    assert not (batch.input_ids == image).any()
    learnt = batch.labels != IGNORED
    assert torch.equal(batch.input_ids[learnt], batch.labels[learnt])
    assert all('<|im_start|>assistant' in prompt for prompt, *_ in texts(rows, batch))


def test_what_only_an_image_tells_is_not_learnt(rows, batch):
    numbers_answered = 0
    for _, response, learnt in texts(rows, batch):
        assert all(learnt[:response.index('. On the table:') + 1])
        stop = next((i for i, w in enumerate(response) if w in ('. Matching:', '</think>')))
        for i in range(response.index('. On the table:') + 1, stop):
            assert learnt[i] == (response[i] in (' yes', ' no', ' reference'))
        for i in range(stop, len(response)):
            if re.fullmatch(r' [xy]\d+', response[i]):
                assert not learnt[i]
            elif response[i].isdigit():
                numbers_answered += learnt[i]
    # Digits of an answer are copies of what stands in the reasoning.
    assert numbers_answered > 300


def test_words_fit_or_contradict_what_is_looked_for(rows, batch):
    seen = {NOT_ASKED: 0, FITS: 0, CONTRADICTS: 0}
    fits = {tuple(place): fit for place, fit in
            zip(batch.names.tolist(), batch.fits.tolist(), strict=True)}
    plain = 0
    for number, (_, response, _) in enumerate(texts(rows, batch)):
        aim = ''.join(response[2:response.index('. On the table:')]).split()
        here = [(column, fit) for (row, column), fit in sorted(fits.items()) if row == number]
        assert len(here) == 3 * len(ITEM.findall(''.join(response)))
        if not set(aim) <= {*SIZES, *COLOURS, *KINDS, 'object', 'thing'}:
            continue
        plain += 1
        for column, (noun, anchor) in here:
            word = rows.batches.tokenizer.decode([int(batch.input_ids[number, column])]).strip()
            field = next(words for words in (SIZES, COLOURS, KINDS) if word in words)
            asked = set(field) & set(aim)
            assert noun == (NOT_ASKED if not asked else FITS if word in asked else CONTRADICTS)
            assert anchor == NOT_ASKED
            seen[noun] += 1
    assert plain > 60 and min(seen.values()) > 50


def test_what_is_alike_is_found_where_it_was_listed_last(rows, batch):
    places = list(rows.batches.columns)
    wanted = dict(zip(map(tuple, batch.kinds.tolist()), batch.alike.tolist(), strict=True))
    found = {'list': 0, 'caption': 0}
    for number, ids in enumerate(batch.input_ids):
        words = [rows.batches.tokenizer.decode([token]) for token in ids]
        text = ''.join(words)
        listed = re.findall(r' (r\dc\d) \w+ (\w+ \w+) (?=yes|no|reference)', text)
        grouped = re.findall(r' (r\dc\d) ([a-z]+ [a-z]+)', text.partition('. Matching:')[2])
        columns = sorted(column for row, column in wanted if row == number)
        assert [words[column].strip() for column in columns] == [
            name.split()[1] for _, name in listed + grouped]
        for at, (column, (own, name)) in enumerate(zip(columns, listed + grouped, strict=True)):
            others = [place for place, other in listed[:at] if other == name and place != own]
            token = wanted[number, column]
            if not others:
                assert token == len(places)
                continue
            assert rows.batches.tokenizer.decode([places[token]]).strip() == others[-1]
            found['list' if at < len(listed) else 'caption'] += 1
    assert min(found.values()) > 30


def test_sides_are_learnt_where_columns_tell_them(rows, batch):
    said = {'yes': 0, 'no': 0}
    for _, response, learnt in texts(rows, batch):
        text = ''.join(response)
        aim = re.search(r'whether the .* is (left|right) of the', text)
        if aim is None or '<answer>' not in response:
            continue
        subject, reference = (
            next(int(item[0]) for item in ITEM.findall(text) if item[4] == verdict)
            for verdict in ('yes', 'reference'))
        answer = re.search('<answer>(yes|no)', text)[1]
        assert (subject < reference) == ((aim[1] == 'left') == (answer == 'yes'))
        assert subject != reference and learnt[response.index('<answer>') + 1]
        said[answer] += 1
    assert min(said.values()) >= 1


def test_captions_teach_the_order_where_columns_tell_it(rows, batch):
    """The first and the third object share a column, where both are there."""
    learnt_places, words, alike = {True: 0, False: 0}, 0, {True: 0, False: 0}
    for _, response, learnt in texts(rows, batch):
        if 'all objects' not in ''.join(response):
            continue
        match = response.index('. Matching:')
        listed = [column for column, *_ in ITEM.findall(''.join(response[:match]))]
        stop = response.index('</think>')
        begin = match + 1
        while begin < stop:
            end = next((i for i in range(begin, stop) if response[i] == ';'), stop)
            places = {i: response[i][-1] for i in range(begin, end)
                      if re.fullmatch(r' r\dc\d', response[i])}
            for i in range(begin, end):
                if i == begin:
                    assert learnt[i] == (listed.count(places[i]) == 1)
                    learnt_places[learnt[i]] += 1
                elif i in places:
                    others = [column for at, column in places.items() if at > begin]
                    assert learnt[i] == (others.count(places[i]) == 1)
                    alike[learnt[i]] += 1
                else:
                    assert learnt[i]
                    words += 1
            begin = end + 1
        assert all(learnt[stop:])
    assert min(learnt_places.values()) > 10 and words > 100
    assert alike[True] > 10


def test_half_of_the_rows_have_one_object_in_a_column(rows, batch):
    several = 0
    drawn = texts(rows, batch)
    for _, response, _ in drawn:
        match = next(i for i, w in enumerate(response) if w in ('. Matching:', '</think>'))
        columns = [column for column, *_ in ITEM.findall(''.join(response[:match]))]
        several += len(columns) != len(set(columns))
    assert 0.4 < several / len(drawn) < 0.6


def test_few_colours_at_first(rows):
    few = WordRows(rows.batches, groups=len(GROUPS))
    for _ in range(20):
        assert {o.colour for o in few.repaint(FRAME).objects} <= set(COLOURS[:2])
    painted = [few.repaint(FRAME).objects for _ in range(50)]
    assert len({o.kind for objects in painted for o in objects}) == len(KINDS)
    drawn = few.draw(20)
    assert drawn.coloured.all()
    for prompt, response, _ in texts(rows, drawn):
        assert response[-1] in ('. Matching:', '</think>')
        assert any(colour in prompt.lower() for colour in COLOURS)


@pytest.mark.parametrize('level', range(len(GROUPS)))
def test_few_things_to_group_at_first(rows, level: int) -> None:
    count, kinds = GROUPS[level]
    drawn = texts(rows, WordRows(rows.batches, len(COLOURS), level).draw(40))
    sizes, grouped = set(), 0
    for _, response, learnt in drawn[1::2]:
        text = ''.join(response)
        assert 'all objects' in text
        listed = ITEM.findall(text.partition('. Matching:')[0])
        sizes.add(len(listed))
        assert len({kind for *_, kind, _ in listed}) <= kinds
        assert len({colour for _, _, colour, *_ in listed}) <= 2
        grouped += bool(re.search(r'\w r\dc\d', text.partition('. Matching:')[2]))
        assert learnt[-2:] == [True, True]
    # Few are spread over the columns, of which two objects of the frame share one.
    most = len(FRAME.objects) - (count <= SPREAD_UP_TO)
    assert max(sizes) == min(count, most) and min(sizes) >= 2 and grouped
    assert any('all objects' not in ''.join(response) for _, response, _ in drawn[::2])


def test_rows_are_about_both_as_long_as_both_are_to_be_learnt(rows):
    drawn = WordRows(rows.batches).draw(20)
    is_caption = ['all objects' in ''.join(response) for _, response, _ in texts(rows, drawn)]
    assert is_caption == [False, True] * 10
    assert drawn.coloured.tolist() == [True, False] * 10


def test_steps_of_captions_behind_places_and_names_are_marked(rows, batch):
    marked = set(map(tuple, batch.groups.tolist()))
    found = {';': 0, 'place': 0}
    for number, (ids, labels) in enumerate(zip(batch.input_ids, batch.labels, strict=True)):
        words = [rows.batches.tokenizer.decode([token]) for token in ids]
        begin = words.index('<think>')
        if 'all objects' not in ''.join(words[begin:]):
            assert not any(row == number for row, _ in marked)
            continue
        for column in range(words.index('. Matching:'), words.index('</think>') + 1):
            is_place = bool(re.fullmatch(r' r\dc\d', words[column]))
            before = words[column - 1]
            steps = (words[column] == ';' or is_place) and (
                before.strip() in KINDS or bool(re.fullmatch(r' r\dc\d', before)))
            assert ((number, column) in marked) == (steps and bool(labels[column] != IGNORED))
            if (number, column) in marked:
                found['place' if is_place else words[column]] += 1
    assert min(found.values()) > 10


@pytest.mark.parametrize(('level', 'shares', 'wanted'), [
    (2, [], 2),
    (2, [0.99, 0.99], 2),              # too few steps
    (2, [0.5, 0.99, 0.97, 0.98], 3),
    (2, [0.99, 0.99, 0.5], 2),         # not any more
    (8, [1.0] * 9, 8),
])
def test_one_more_once_those_before_are_learnt(
        level: int, shares: list[float], wanted: int) -> None:
    assert next_level(level, 8, shares, 0.97) == wanted


def test_the_head_teaches_the_layers_below_it_alone(rows):
    small = Architecture(hidden=32, layers=3, intermediate=32, vision_hidden=32, vision_depth=1,
                         vision_intermediate=32, heads=4)
    torch.manual_seed(0)
    model = build_model(small, rows.batches.tokenizer, SIZE)
    head = WordHead(small.hidden, len(rows.batches.columns))
    drawn = WordRows(rows.batches).draw(8)
    text, fit, parts = word_losses(
        model, LayerTap(model, 2), head, drawn, rows.batches.verdicts)
    assert np.isfinite(float(text.detach()))
    assert all(0 <= share <= 1 for share in parts.values())
    fit.backward()
    layers = model.model.language_model.layers
    taught = [layer.mlp.up_proj.weight.grad is not None for layer in layers]
    assert taught == [True, True, False]
