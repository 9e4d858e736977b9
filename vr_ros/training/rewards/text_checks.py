"""What can be told from the form of a response: its tags, sections and repeated sentences.

All of them take time linear in the text: a response may be two thousand tokens of blanks.
"""
from __future__ import annotations

import re
from collections.abc import Sequence

TAGS = ('<think>', '</think>', '<answer>', '</answer>')
REPEATS_ALLOWED = 1

_OPEN, _CLOSE = TAGS[2:]
_NO_BLANK = re.compile(r'\.(?=[A-Z])')
_TURN = re.compile(r'</think>\s*<answer>')


def answer_text(response: str) -> str | None:
    """Give the text between the first answer tag and the next closing one, stripped.

    :return: None without a closed answer.
    """
    start = response.find(_OPEN)
    end = response.find(_CLOSE, start + len(_OPEN)) if start >= 0 else -1
    return response[start + len(_OPEN):end].strip() if end >= 0 else None


def reasoning_text(response: str) -> str:
    """Give what stands in front of the first answer tag, without the think tags, stripped."""
    before, _, _ = response.partition(_OPEN)
    return before.replace(TAGS[0], '').replace(TAGS[1], '').strip()


def reference_think_format(response: str) -> float:
    """Give 1 if thinking in tags, blanks and an answer in tags are the whole response.

    Source: VisionReasoner, section 3.4. Quirk: further tags inside the two parts do not matter.
    """
    return float(_thought(response) is not None)


def think_format(response: str) -> float:
    """Give 1 for thinking and then an answer, each in its tags, nothing around them but blanks.

    Each of the four tags stands there once, and the thinking says something.
    """
    text = response.strip()
    thought = _thought(text)
    if not thought or thought.isspace():
        return 0.0
    # All four tags are there: where no other mark begins a tag, each is there once.
    return float(text.count('<') == len(TAGS) or all(text.count(tag) == 1 for tag in TAGS))


def tag_share(response: str) -> float:
    """Give a quarter for each of the four tags that stands there exactly once.

    Source: V-Triune, section 3.2. The released code also wants a line break beside each tag, which
    says nothing about the reasoning.
    """
    return sum(response.count(tag) == 1 for tag in TAGS) / len(TAGS)


def reference_non_repetition(response: str) -> float:
    """Give 0 if at least two sentences repeat earlier ones, else 1.

    Source: VisionReasoner, section 3.4. Quirks: the whole response counts, answer and tags
    included, and every full stop ends a sentence, also that of 0.5.
    """
    return float(_repeats([part.strip() for part in response.split('.')]) <= REPEATS_ALLOWED)


def non_repetition(response: str) -> float:
    """Give 0 if at least two sentences of the reasoning repeat earlier ones, else 1.

    A sentence ends at a full stop in front of a blank or a capital, at a question or exclamation
    mark, or with its line; case and surplus blanks do not matter.
    """
    # A regular expression for all of it would take ten times as long.
    text = _NO_BLANK.sub('. ', reasoning_text(response)).lower().replace('\n', '. ')
    if '  ' in text or '\t' in text or '\xa0' in text:
        text = ' '.join(text.split())
    sentences = text.replace('!', '. ').replace('?', '. ').split('. ')
    return float(_repeats([part.strip('.!? ') for part in sentences]) <= REPEATS_ALLOWED)


def has_sections(response: str, titles: Sequence[str]) -> bool:
    """Tell whether a response has all these sections, each as ``### title:``.

    Case and the blanks in front of a title do not matter.
    Source: PeBR-R1, format reward.
    """
    return all(_section(title).search(response) for title in titles)


def section_line(response: str, title: str) -> str | None:
    """Give the rest of the line behind the last ``### title:``; None without that section.

    A line break behind the title is passed over, as by the graders of PeBR-R1; those take the first
    of several sections, which may be one that the model quotes.
    """
    found = list(_section(title).finditer(response))
    if not found:
        return None
    return response[found[-1].end():].lstrip().partition('\n')[0].strip()


def section_text(response: str, title: str) -> str:
    """Give the text from ``### title:`` to the next ``###``; empty without that section."""
    found = _section(title).search(response)
    return response[found.end():].partition('###')[0].strip() if found else ''


def _thought(response: str) -> str | None:
    """Give the text of the thinking; None unless the response is as it should be, from end to end.

    The thinking ends at the first closing tag that an answer follows.
    """
    if not (response.startswith(TAGS[0]) and response.endswith(_CLOSE)):
        return None
    turn = _TURN.search(response, len(TAGS[0]))
    return None if turn is None else response[len(TAGS[0]):turn.start()]


def _section(title: str) -> re.Pattern[str]:
    return re.compile(rf'###\s*{re.escape(title)}:', re.IGNORECASE)


def _repeats(sentences: Sequence[str]) -> int:
    """Count the sentences that occurred before; empty ones are none."""
    said = list(filter(None, sentences))
    return len(said) - len(set(said))
