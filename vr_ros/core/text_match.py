"""Texts compared: exact match, ANLS, relaxed match, edit distance."""
from __future__ import annotations

import math
import re

import numpy as np

# Of the longer text: with more edits than this, an answer is another one, not a misread one.
ANLS_THRESHOLD = 0.5
MAX_RELATIVE_ERROR = 0.05


def normalise_answer(text: str) -> str:
    """Lower case, without punctuation, articles at the front and surplus space."""
    words = re.sub(r'[^\w\s]', ' ', text.lower()).split()
    # An article alone is not at the front of anything, but perhaps the letter of a choice.
    return ' '.join(words[1:] if words[1:] and words[0] in ('a', 'an', 'the') else words)


def exact_match(expected: str, answered: str) -> float:
    """Give 1 for the same words, case, punctuation and a leading article aside."""
    return float(normalise_answer(expected) == normalise_answer(answered))


def anls(expected: str, answered: str) -> float:
    """Give 1 - edits / length of the longer text, and 0 where that is below one half.

    Case and surplus space do not count as edits; the lengths are those of the texts as they are,
    as in the script of the challenge.
    Source: Biten et al., ICCV 2019, equation 1; DocVQA's script counts exactly one half, which the
    paper does not.
    """
    edits = edit_distance(*(' '.join(text.lower().split()) for text in (expected, answered)))
    longer = max(len(expected), len(answered))
    similarity = 1 - edits / longer if longer else 1.0
    return similarity if similarity >= ANLS_THRESHOLD else 0.0


def relaxed_match(expected: str, answered: str) -> float:
    """Give 1 for numbers within 5 % of the true one, both ends included, else for the same text.

    '12 %' is 0.12. Text, and a true number of 0, which has no 5 %, must be the same but for case
    and space around it. Years are numbers, too: 2010 for 2019 is right by this rule.
    Source: ChartQA (Masry et al., ACL 2022, section 5.1), after PlotQA.
    """
    true, said = read_number(expected), read_number(answered)
    if true is not None and said is not None and true != 0:
        return float(abs(said - true) / abs(true) <= MAX_RELATIVE_ERROR)
    return float(expected.strip().lower() == answered.strip().lower())


def edit_distance(one: str, other: str) -> int:
    """Count the insertions, deletions and replacements of characters that lead to the other text.

    Source: Wagner and Fischer, 1974, row by row; a run of insertions is a running minimum.
    """
    if len(one) > len(other):
        one, other = other, one
    letters = np.array([ord(letter) for letter in one], int)
    steps = np.arange(len(one) + 1)
    row = steps
    for number, letter in enumerate(other, start=1):
        reached = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        row = np.minimum.accumulate(np.concatenate(([number], reached)) - steps) + steps
    return int(row[-1])


def read_number(text: str) -> float | None:
    """Read a number, a share of a hundred with a percent sign; None if it is none."""
    text = text.strip()
    scale = 100.0 if text.endswith('%') else 1.0
    try:
        number = float(text.removesuffix('%')) / scale
    except ValueError:
        return None
    return number if math.isfinite(number) else None
