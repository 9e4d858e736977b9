"""The model's answer, read while it is being written: reasoning, objects, and kind of answer."""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from vr_ros.core.json_objects import ObjectReader
from vr_ros.core.object_draft import ParserLimits
from vr_ros.core.types import ParsedObject

__all__ = ['AnswerParser', 'ParseOutcome', 'ParsedAnswer', 'ParserDelta', 'ParserLimits',
           'parse_answer']

_TAGS = ('<think>', '</think>', '<answer>', '</answer>')
_LIST_STARTS = frozenset('[{`')
_SHORTEST_CUT_TAG = 3


class ParseOutcome(Enum):
    """What the answer turned out to be.

    OBJECTS is a readable list; EMPTY a readable list of nothing; PARTIAL objects, but cut off or
    with parts that could not be read; TEXT words and no list; UNREADABLE no answer, or a list with
    nothing readable.
    """

    OBJECTS = auto()
    EMPTY = auto()
    PARTIAL = auto()
    TEXT = auto()
    UNREADABLE = auto()


@dataclass(frozen=True)
class ParserDelta:
    """What one chunk added.

    :param reasoning: new reasoning text, without tags.
    :param objects: objects completed by this chunk.
    """

    reasoning: str = ''
    objects: tuple[ParsedObject, ...] = ()


@dataclass(frozen=True)
class ParsedAnswer:
    """A whole answer; its reasoning and objects begin with those of all deltas, in order.

    :param answer_text: what stands between the answer tags, or the plain text where there are none.
    :param limit_reached: there were more objects than ParserLimits.max_objects.
    :param duplicates: objects dropped because box and point equal those of an earlier one.
    :param unread: further objects that were written: without a whole box, or beyond the limit.
    :param closed: the closing answer tag was there.
    """

    objects: tuple[ParsedObject, ...]
    reasoning: str
    answer_text: str
    outcome: ParseOutcome
    limit_reached: bool = False
    duplicates: int = 0
    unread: int = 0
    closed: bool = False


class _Phase(Enum):
    UNDECIDED = auto()
    THINKING = auto()
    ANSWERING = auto()
    DONE = auto()


class _Reasoning:
    """Text that grows at its end and is stripped at both, so that nothing is ever taken back."""

    def __init__(self) -> None:
        self._written: list[str] = []
        self._blanks: list[str] = []
        self._begins_part = True
        self._reported = 0

    def add(self, text: str) -> None:
        for char in text:
            if not char.isspace():
                self._written += self._blanks if self._written else []
                self._written.append(char)
                self._blanks = []
                self._begins_part = False
            elif not self._begins_part:
                self._blanks.append(char)

    def end_part(self) -> None:
        """Put one line break between what stood on both sides of a tag."""
        self._blanks = ['\n']
        self._begins_part = True

    def news(self) -> str:
        text = ''.join(self._written[self._reported:])
        self._reported = len(self._written)
        return text

    def text(self) -> str:
        return ''.join(self._written)


class AnswerParser:
    """Read an answer chunk by chunk; where the text is cut into chunks never changes the result.

    Text before the answer is reasoning, with or without think tags. Text without an answer tag is
    held back until it is known what it is, unless it begins like a list. Never raises, whatever the
    text; the time is linear in it.
    """

    def __init__(self, limits: ParserLimits = ParserLimits()) -> None:  # noqa: B008 (frozen value)
        self._limits = limits
        self._reader = ObjectReader(limits)
        self._reasoning = _Reasoning()
        self._phase = _Phase.UNDECIDED
        self._offset = 0
        self._tag = ''
        self._text: list[str] = []
        self._text_start = 0
        self._think_is_open = False
        self._thinks_in_answer = False
        self._tagged = False
        self._reported = 0
        self._other_steps = 0
        self._result: ParsedAnswer | None = None

    @property
    def done(self) -> bool:
        """Whether the answer is closed, so that nothing that follows can change it."""
        return self._phase is _Phase.DONE

    @property
    def steps(self) -> int:
        """Number of elementary steps taken so far: shows that the work is linear in the text."""
        return self._reader.steps + self._other_steps

    def feed(self, text: str) -> ParserDelta:
        """Take the next chunk of the raw text.

        :return: what it added.
        """
        for char in text:
            if self._phase is _Phase.DONE:
                break
            self._other_steps += 1
            self._take(char)
        return self._delta()

    def finish(self) -> ParsedAnswer:
        """Take the end of the text.

        :return: the whole answer. It may hold objects and reasoning that no delta held: those of
            a text without tags, and a last object that was cut off behind its box.
        """
        if self._result is None:
            if len(self._tag) < _SHORTEST_CUT_TAG:
                self._put_text(self._tag, self._offset - len(self._tag))
            if self._phase is _Phase.UNDECIDED:
                self._answer_with_undecided()
            self._reader.finish(self._offset)
            self._result = self._conclude()
            self._phase = _Phase.DONE
        return self._result

    def _take(self, char: str) -> None:
        self._offset += 1
        if not self._tag:
            if char == '<':
                self._tag = char
            else:
                self._put_text(char, self._offset - 1)
            return
        candidate = (self._tag + char).lower()
        if candidate in _TAGS:
            self._tag = ''
            self._on_tag(candidate)
        elif any(tag.startswith(candidate) for tag in _TAGS):
            self._tag += char
        else:
            text, self._tag = self._tag, ''
            self._put_text(text, self._offset - 1 - len(text))
            self._offset -= 1
            self._take(char)

    def _put_text(self, text: str, start: int) -> None:
        for at, char in enumerate(text, start):
            if self._phase is _Phase.THINKING or self._thinks_in_answer:
                self._reasoning.add(char)
                continue
            if not self._text:
                if char.isspace():
                    continue
                self._text_start = at
                if self._phase is _Phase.UNDECIDED and char in _LIST_STARTS:
                    self._phase = _Phase.ANSWERING
            self._text.append(char)
            if self._phase is _Phase.ANSWERING:
                self._reader.put(char, at)

    def _on_tag(self, tag: str) -> None:
        if self._phase is _Phase.ANSWERING:
            self._on_tag_in_answer(tag)
        elif tag == '<answer>':
            self._text_becomes_reasoning()
            self._phase = _Phase.ANSWERING
            self._tagged = True
        elif tag == '</answer>':
            if self._phase is _Phase.UNDECIDED and self._text:
                self._answer_with_undecided()
                self._phase = _Phase.DONE
        else:
            self._text_becomes_reasoning()
            self._think_is_open = tag == '<think>'
            self._phase = _Phase.THINKING if self._think_is_open else _Phase.UNDECIDED

    def _on_tag_in_answer(self, tag: str) -> None:
        """Take a tag inside an answer: its end, or a sign that it was reasoning about tags."""
        if tag == '</answer>':
            if self._think_is_open and not self._text:
                self._phase = _Phase.THINKING
            else:
                self._phase = _Phase.DONE
        elif tag == '<think>':
            self._thinks_in_answer = True
            self._reasoning.end_part()
        elif tag == '</think>' and self._thinks_in_answer:
            self._thinks_in_answer = False
            self._reasoning.end_part()
        elif self._reader.objects or self._reader.is_empty_list:
            return
        elif tag == '</think>' or not self._tagged:
            self._text_becomes_reasoning()
            self._think_is_open = False
            self._tagged = tag == '<answer>'
            self._phase = _Phase.ANSWERING if self._tagged else _Phase.UNDECIDED

    def _text_becomes_reasoning(self) -> None:
        self._reasoning.add(''.join(self._text))
        self._reasoning.end_part()
        self._other_steps += len(self._text) + self._reader.steps
        self._text = []
        self._reader = ObjectReader(self._limits)

    def _answer_with_undecided(self) -> None:
        for at, char in enumerate(self._text, self._text_start):
            self._reader.put(char, at)

    def _delta(self) -> ParserDelta:
        new = tuple(self._reader.objects[self._reported:])
        self._reported += len(new)
        return ParserDelta(self._reasoning.news(), new)

    def _conclude(self) -> ParsedAnswer:
        reader = self._reader
        if reader.objects:
            outcome = ParseOutcome.PARTIAL if reader.damaged else ParseOutcome.OBJECTS
        elif reader.is_empty_list:
            outcome = ParseOutcome.EMPTY
        elif reader.attempted or not self._text:
            outcome = ParseOutcome.UNREADABLE
        else:
            outcome = ParseOutcome.TEXT
        return ParsedAnswer(tuple(reader.objects), self._reasoning.text(),
                            ''.join(self._text).strip(), outcome, reader.limit_reached,
                            reader.duplicates, reader.unread, self._phase is _Phase.DONE)


def parse_answer(text: str, limits: ParserLimits = ParserLimits()) -> ParsedAnswer:  # noqa: B008
    """Read a whole answer at once."""
    parser = AnswerParser(limits)
    parser.feed(text)
    return parser.finish()
