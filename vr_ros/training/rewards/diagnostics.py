"""How responses are written: length, and words that go back on what was said."""
from __future__ import annotations

import re

# V-Triune, section 3.3.
REFLECTION_WORDS = (
    're-check', 're-evaluate', 're-examine', 're-think', 'recheck', 'reevaluate', 'reexamine',
    'reevaluation', 'rethink', 'check again', 'think again', 'try again', 'verify', 'wait', 'yet')
_WHOLE = {word: re.compile(rf'\b{re.escape(word)}\b') for word in REFLECTION_WORDS}


def reflection_words(response: str, *, anywhere: bool = False) -> tuple[str, ...]:
    """Name the words of reflection in a response, case aside.

    :param anywhere: as the released code finds them, also within other words: a waiter waits.
    """
    text = response.lower()
    return tuple(word for word in REFLECTION_WORDS
                 if (word in text if anywhere else _WHOLE[word].search(text)))
