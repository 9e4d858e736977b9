"""Streaming decoding equals decoding at once, whatever the tokens cut through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vr_ros.models.token_stream import TokenStream
from vr_ros.training.trainers.sim_tokenizer import build_tokenizer, place_tokens


@pytest.fixture(scope='module')
def tokenizer():
    return build_tokenizer(['find the small red cube'] * 20, ['On the table:'], place_tokens(6, 6))


def stream_of(tokenizer, text):
    stream = TokenStream(lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
    pieces = [stream.push(token) for token in tokenizer(text)['input_ids']]
    return stream, pieces


@pytest.mark.parametrize(
    'text',
    [
        'find the small red cube',  # words of the vocabulary
        'On the table: at r3c5 at r0c0',  # added tokens
        '<answer>[{"bbox_2d": [10,100,2,3], "point_2d": [4,5]}]</answer>',
        'naïve 你好 🤖 मुझे',  # characters of two, three and four bytes
        ' leading and trailing ',
        '',
    ],
)
def test_pieces_join_to_the_text(tokenizer, text):
    stream, pieces = stream_of(tokenizer, text)
    assert ''.join(pieces) + stream.flush() == text


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_survives(tokenizer, text):
    stream, pieces = stream_of(tokenizer, text)
    expected = tokenizer.decode(tokenizer(text)['input_ids'], skip_special_tokens=True)
    assert ''.join(pieces) + stream.flush() == expected


def test_spans_say_which_characters_a_token_wrote(tokenizer):
    text = '[{"bbox_2d": [10,7'
    stream, pieces = stream_of(tokenizer, text)
    assert [text[start:end] for start, end in stream.spans] == pieces
    assert [piece for piece in pieces if piece.isdigit()] == ['1', '0', '7']  # one token per digit


def test_a_cut_character_is_held_back_until_it_is_whole(tokenizer):
    stream, pieces = stream_of(tokenizer, '🤖')
    assert pieces[:-1] == [''] * (len(pieces) - 1)
    assert pieces[-1] == '🤖'


def test_flush_gives_what_an_incomplete_character_leaves(tokenizer):
    stream = TokenStream(lambda ids: tokenizer.decode(ids))
    first = tokenizer('🤖')['input_ids'][0]
    assert stream.push(first) == ''
    assert stream.flush() == '\ufffd'
