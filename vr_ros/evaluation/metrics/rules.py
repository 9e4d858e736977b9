"""Answers scored by the rule of their own data set: choices, TextVQA's votes, OCRBench's texts.

A truth names its rule; 'answer score' is the mean over all that name one, each by its own.
"""
from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence

from vr_ros.core.mathematics import same_value
from vr_ros.core.text_match import anls, exact_match, normalise_answer, relaxed_match
from vr_ros.datasets.rules import (
    ANLS,
    CHOICE,
    CONTAINED,
    EXACT,
    MATHEMATICS,
    RELAXED,
    VOTES,
)
from vr_ros.datasets.truth import Truth
from vr_ros.evaluation.found import Found
from vr_ros.evaluation.metrics.measure import Measure, mean

# So many of ten people have to agree for a whole point.
_AGREEING = 3
_NUMBERS = dict(zip(
    'zero one two three four five six seven eight nine ten'.split(), map(str, range(11)),
    strict=True))
_LETTERS = string.ascii_uppercase


def chosen(answer: str, choices: Sequence[str]) -> int | None:
    """Find out which choice an answer names: by its letter, else by its text.

    A letter counts where it stands alone, in a box, in brackets, with a mark behind it at the
    beginning, or behind the word answer, option or choice, the last one; a text where it is the
    whole answer, or the only one of the choices in it.

    :param choices: texts of A, B, C …
    :return: place of the choice; None where none, or more than one, is named.
    """
    letters = _LETTERS[:len(choices)]
    text = answer.strip().strip('*').strip()
    for pattern in (
            rf'\(?([{letters}])[).]?$',
            rf'.*\\boxed\{{\s*(?:\\text\{{)?\(?([{letters}])\)?\}}',
            rf'\(([{letters}])\)|([{letters}])[).:]',
            rf'.*\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)\b(?: is| would be)?[\s:*(]*([{letters}])\b'
            # A before another word is an article.
            r'(?<!A(?= (?!because|as|since)[a-z]))',
    ):
        found = re.match(pattern, text, re.DOTALL)
        if found:
            return letters.index(next(filter(None, found.groups())))
    bracketed = set(re.findall(rf'\(([{letters}])\)', text))
    if len(bracketed) == 1:
        return letters.index(bracketed.pop())
    said, known = normalise_answer(text), [normalise_answer(choice) for choice in choices]
    whole = [place for place, choice in enumerate(known) if choice == said]
    inside = [place for place, choice in enumerate(known) if f' {choice} ' in f' {said} ']
    for places in (whole, inside):
        if len(places) == 1:
            return places[0]
    return None


def choice_score(truth: Truth, answer: str) -> float:
    """Give 1 where the answer names the right choice, and no other."""
    place = chosen(answer, truth.choices)
    return float(place is not None and _LETTERS[place] == truth.answers[0])


def votes_score(truth: Truth, answer: str) -> float:
    """Give a third of a point for each person who said the same, 1 at most.

    With more than one person it is the mean over all but one of them, as in the script of the
    challenge: case, punctuation, articles and words for numbers aside; contractions count.
    Source: Antol et al., ICCV 2015, as TextVQA uses it.
    """
    said, votes = _plain(answer), [_plain(text) for text in truth.answers]
    scores = [
        min(1.0, sum(other == said for other in (*votes[:left_out], *votes[left_out + 1:]))
            / _AGREEING)
        for left_out in range(len(votes))]
    return sum(scores) / len(scores) if len(votes) > 1 else float(said in votes)


def contained_score(truth: Truth, answer: str) -> float:
    """Give 1 where a right text is part of the answer, case and space at the ends aside.

    Source: OCRBench (Liu et al., 2023). Its formulas, where no space counts, are told by LaTeX.
    """
    said = answer.lower().replace('\n', ' ')
    for text in truth.answers:
        wanted = text.strip().replace('\n', ' ')
        if wanted.lower() in said or '\\' in wanted and _joined(wanted) in _joined(answer):
            return 1.0
    return 0.0


def _best(compare: Callable[[str, str], float]) -> Callable[[Truth, str], float]:
    return lambda truth, answer: max(compare(text, answer) for text in truth.answers)


SCORES: Mapping[str, Callable[[Truth, str], float]] = {
    EXACT: _best(exact_match), ANLS: _best(anls), RELAXED: _best(relaxed_match),
    CHOICE: choice_score, VOTES: votes_score, CONTAINED: contained_score,
    MATHEMATICS: _best(same_value),
}
# Those that say something of any answer are among the figures of all answers already.
_OWN = (CHOICE, VOTES, CONTAINED, MATHEMATICS)


def rule_measures(truths: Sequence[Truth], found: Sequence[Found]) -> list[Measure]:
    """Average over the samples whose truth names a rule: each rule, and all of them together.

    An error is no answer and counts 0.

    :raises KeyError: if there is no such rule.
    :raises MathVerifyMissingError: if one is mathematics, and math-verify is not installed.
    """
    scores = [
        None if not truth.rule else
        0.0 if answered.status.is_error else float(SCORES[truth.rule](truth, answered.answer))
        for truth, answered in zip(truths, found, strict=True)]
    return [
        *(mean(name, [score if truth.rule == name else None
                      for truth, score in zip(truths, scores, strict=True)]) for name in _OWN),
        mean('answer score', scores)]


def _plain(text: str) -> str:
    words = re.sub(r"[^\w\s']", ' ', text.lower()).split()
    return ' '.join(_NUMBERS.get(word, word) for word in words if word not in ('a', 'an', 'the'))


def _joined(text: str) -> str:
    return ''.join(text.split())
