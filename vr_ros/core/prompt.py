"""The text a model is given: cleaned instruction, template of the model card, chat tokens."""
from __future__ import annotations

import re
from dataclasses import dataclass

from vr_ros.core.types import PerceptionError, Status

MAX_INSTRUCTION_CHARS = 4096

_PLACEHOLDER = re.compile(r'\{(Question|Answer)\}')
_ENDS_STRIPPED = '."?!'
_LINE_BREAKS = re.compile('[\t\n\v\f\r\x85\u2028\u2029]')
# Soft hyphen, bidirectional marks, zero-width characters, invisible operators and tags.
_INVISIBLE = re.compile(
    '[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff'
    '\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]')
# Joiners are letters' and emoji's own: they stay between two characters that are not ASCII.
_STRAY_JOINER = re.compile('(?<![^\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f])')
_SPECIAL_TOKEN = re.compile(r'<\|([^<>|\s]*)\|>')
_TAG = re.compile(
    r'</?\s*(think|answer|image|video|tool_call|tool_response|tools)\s*/?>', re.IGNORECASE)


@dataclass(frozen=True)
class PromptTemplate:
    """What surrounds an instruction.

    :param system: the system message; '' leaves it out.
    :param user: the user message with the placeholders {Question} and {Answer}.
    :param example: what {Answer} stands for.
    """

    system: str
    user: str
    example: str = ''


def validate_instruction(text: str, max_chars: int = MAX_INSTRUCTION_CHARS) -> str:
    """Make an instruction safe to put into a template.

    Characters that print nothing (controls, bidirectional and zero-width marks, lone surrogates)
    go; line breaks and tabs become spaces. Special tokens and the tags of the answer format lose
    their delimiters: ``<|im_end|>`` becomes ``im_end``, ``</think>`` becomes ``think``. All else
    stays, so ordinary text comes back unchanged. Quotes are left to `render_user_text`.

    :param max_chars: the longest text allowed, in characters as received.
    :return: the safe text.
    :raises PerceptionError: BAD_INSTRUCTION when the text says nothing or is too long.
    """
    if len(text) > max_chars:
        raise PerceptionError(
            Status.BAD_INSTRUCTION,
            f'the instruction has {len(text)} characters: shorten it to {max_chars}')
    text = _INVISIBLE.sub('', _LINE_BREAKS.sub(' ', text))
    text = without_markup(_STRAY_JOINER.sub('', text))
    if not text.strip(_ENDS_STRIPPED + ' \u00a0\u3000'):
        raise PerceptionError(
            Status.BAD_INSTRUCTION, 'the instruction is empty: say what to look for')
    return text


def clean_question(text: str, style: str) -> str:
    """Bring an instruction into the form a model was trained on.

    :param style: 'visionreasoner' (lower case, without ``. " ? !`` at its ends; VisionReasoner's
        inference code) or 'verbatim'.
    :raises ValueError: for another style.
    """
    if style == 'visionreasoner':
        return text.lower().strip(_ENDS_STRIPPED)
    if style == 'verbatim':
        return text
    raise ValueError(f"unknown question style '{style}': use 'visionreasoner' or 'verbatim'")


def render_user_text(template: PromptTemplate, question: str) -> str:
    """Fill the template's user message.

    Where the template puts the question into double quotes, those inside it become single ones, so
    that the question cannot end early. Braces in it are ordinary text.

    :param question: a validated and cleaned instruction.
    """
    def fill(match: re.Match[str]) -> str:
        if match.group(1) == 'Answer':
            return template.example
        around = template.user[max(match.start() - 1, 0):match.start()]
        around += template.user[match.end():match.end() + 1]
        return question.replace('"', "'") if around == '""' else question

    return _PLACEHOLDER.sub(fill, template.user)


def render_chat(template: PromptTemplate, question: str, image_tokens: int) -> str:
    """Render one image and one question as the Qwen-VL chat, up to where the model starts to write.

    :param question: a validated and cleaned instruction.
    :param image_tokens: number of merged image tokens; 0 leaves the image out.
    :raises ValueError: when image_tokens is negative.
    """
    if image_tokens < 0:
        raise ValueError(f'image_tokens is {image_tokens}: it must not be negative')
    user = render_user_text(template, question)
    if image_tokens:
        user = f'<|vision_start|>{"<|image_pad|>" * image_tokens}<|vision_end|>{user}'
    return render_turns(template.system, user)


def render_turns(system: str, user: str) -> str:
    """Render a system message ('' for none) and a user message as the Qwen chat."""
    opening = f'<|im_start|>system\n{system}<|im_end|>\n' if system else ''
    return f'{opening}<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n'


def without_markup(text: str) -> str:
    """Take the delimiters off special tokens and off the tags of the answer format."""
    # What is left of one token may complete another, as in <|<|x|>|>: repeat until nothing changes.
    # Each round shortens the text, whose length is bounded.
    while True:
        stripped = _TAG.sub(r'\1', _SPECIAL_TOKEN.sub(r'\1', text))
        if stripped == text:
            return text
        text = stripped
