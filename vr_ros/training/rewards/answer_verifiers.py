"""Verifiers of answers in words and numbers: exact, numeric, edit distance, count, mathematics.

All read the answer alike: what is in the last ``\\boxed{}`` of the answer, else the answer, which
stands in its tags or, as in PeBR-R1, behind ``### The final answer is:``.
"""
from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable
from typing import Any

from vr_ros.core.mathematics import same_value
from vr_ros.core.text_match import edit_distance, exact_match, normalise_answer, read_number
from vr_ros.training.rewards.samples import ParameterError, Sample, SampleError
from vr_ros.training.rewards.text_checks import answer_text, section_line, tag_share
from vr_ros.training.rewards.verifier import (
    Judge,
    Judgement,
    Rollout,
    Verifier,
    VerifierError,
    parameters_of,
)
from vr_ros.training.rewards.written_objects import read_objects

FINAL_ANSWER = 'The final answer is'
# Longer answers are wrong: comparing them would take too long.
LONGEST_MATHEMATICS = 1000
# An answer so many times as long as the truth has less than a tenth in common with it.
_TIMES_LONGER = 10
# Not part of a word, nor of 12,5, which is neither twelve and a half nor two numbers for sure.
_NUMBER = re.compile(
    r'(?<![\w.,])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?%?(?!\w|[.,]\d)')
_WORDS = dict(zip(
    'zero one two three four five six seven eight nine ten eleven twelve'.split(), range(13),
    strict=True)) | {'no': 0, 'none': 0, 'nothing': 0}
_MOST_NUMBER_CHARS = 400
# [3] is three, however one brackets it; objects are written otherwise.
_BARE_LIST = re.compile(r'\[[^\[\]{}]+\]')


def final_answer(response: str) -> str:
    """Give the answer of a response as text, stripped; empty where there is none."""
    text = answer_text(response)
    if text is None:
        text = section_line(response, FINAL_ANSWER)
    if text is None:
        return ''
    boxed = _last_boxed(text)
    return (text if boxed is None else boxed).strip()


def numbers_in(text: str) -> list[float]:
    """Read all numbers in a text: 1,000 is a thousand, 12 % is 0.12."""
    found = (read_number(match.group().replace(',', ''))
             for match in _NUMBER.finditer(re.sub(r'(?<=\d) %', '%', text)))
    return [number for number in found if number is not None]


def sole_number(text: str) -> float | None:
    """Read the number of a text that has one; None where it has none or names several.

    The same number twice is one. Words up to twelve count where there are no digits.
    """
    if len(text) > _MOST_NUMBER_CHARS:
        return None
    found = set(numbers_in(text))
    if not found:
        found = {float(_WORDS[word]) for word in re.findall(r'[a-z]+', text.lower())
                 if word in _WORDS}
    return found.pop() if len(found) == 1 else None


def count_in(response: str) -> int | None:
    """Read how many objects a response says there are: its list's length, else its number.

    :return: None where it says neither, or no whole number from 0 on.
    """
    text = answer_text(response)
    if text is not None and text.startswith('[') and not _BARE_LIST.fullmatch(text):
        objects = read_objects(response)
        return objects.written if objects.is_list else None
    number = sole_number(final_answer(response))
    return int(number) if number is not None and number >= 0 and number.is_integer() else None


def _prepare_exact(sample: Sample) -> Judge:
    parameters_of(sample, {})
    truths = _accepted(sample)
    return _judged(lambda answer: max(_same(truth, answer) for truth in truths), 'exact')


def _same(truth: str, answer: str) -> float:
    """Compare words, but not without their signs where those are all there is, or make a number."""
    if not normalise_answer(truth):
        return float(truth.strip() == answer.strip())
    numbers = numbers_in(truth)
    if len(numbers) == 1 and read_number(truth) is not None and any(map(str.isdigit, answer)):
        return float(numbers_in(answer) == numbers)
    return exact_match(truth, answer)


def _prepare_numeric(sample: Sample) -> Judge:
    """Parameters: ``relative`` and ``absolute`` tolerance; the larger one counts."""
    values = parameters_of(sample, {'relative': 0.0, 'absolute': 1e-9})
    if min(values.values()) < 0:
        raise ParameterError(f'{sample.title}: a tolerance is below 0')
    numbers = numbers_in(sample.ground_truth)
    if len(numbers) != 1:
        raise SampleError(f'{sample.title}: {sample.ground_truth!r} is no number')
    [truth] = numbers
    tolerance = max(values['relative'] * abs(truth), values['absolute'])

    def compare(answer: str) -> float:
        number = sole_number(answer)
        # A little more than the tolerance: 0.3 is 0.1 from 0.2.
        return float(number is not None and abs(number - truth) <= tolerance * (1 + 1e-9))

    return _judged(compare, 'numeric')


def _prepare_edit_distance(sample: Sample) -> Judge:
    """Parameters: ``least``, below which the similarity counts 0; ``case``, whether it matters."""
    values = parameters_of(sample, {'least': 0.0, 'case': False})
    truths = [' '.join(truth.split()) for truth in _accepted(sample)]

    def similarity(truth: str, answer: str) -> float:
        if not values['case']:
            truth, answer = truth.lower(), answer.lower()
        longer = max(len(truth), len(answer))
        if not longer:
            return 1.0
        if len(answer) > _TIMES_LONGER * max(len(truth), 1):
            return 0.0
        return 1 - edit_distance(truth, answer) / longer

    def compare(answer: str) -> float:
        answer = ' '.join(answer.split())
        best = max(similarity(truth, answer) for truth in truths)
        return best if best >= values['least'] else 0.0

    return _judged(compare, 'edit_similarity')


def _prepare_counting(sample: Sample) -> Judge:
    """Parameters: ``partial``, what a count that is nearly right is worth at most, below 1."""
    partial = parameters_of(sample, {'partial': 0.5})['partial']
    if not 0 <= partial < 1:
        raise ParameterError(f'{sample.title}: partial is {partial}, not from 0 to below 1')
    truth = read_number(sample.ground_truth)
    if truth is None or truth < 0 or not truth.is_integer():
        raise SampleError(f'{sample.title}: {sample.ground_truth!r} is no count')

    def judge(rollout: Rollout) -> Judgement:
        said = count_in(rollout.response)
        error = math.inf if said is None else abs(said - truth)
        near = max(0.0, 1 - error / max(truth, 1))
        accuracy = 1.0 if error == 0 else partial * near
        return Judgement(accuracy, tag_share(rollout.response), error == 0,
                         {'exact_count': float(error == 0), 'near_count': near})

    return judge


def _prepare_mathematics(sample: Sample) -> Judge:
    parameters_of(sample, {})
    truths = _accepted(sample)

    def compare(answer: str) -> float:
        if threading.current_thread() is not threading.main_thread():
            raise VerifierError('mathverify works in the main thread only: score in a pool')
        if not answer or len(answer) > LONGEST_MATHEMATICS:
            return 0.0
        return max(same_value(truth, answer) for truth in truths)

    return _judged(compare, 'mathematics')


EXACT = Verifier('exact', _prepare_exact, ('exact',))
NUMERIC = Verifier('numeric', _prepare_numeric, ('numeric',))
EDIT_DISTANCE = Verifier('edit_distance', _prepare_edit_distance, ('edit_similarity',))
COUNTING = Verifier('counting', _prepare_counting, ('exact_count', 'near_count'))
MATHEMATICS = Verifier('mathverify', _prepare_mathematics, ('mathematics',))


def _judged(compare: Callable[[str], float], name: str) -> Judge:
    def judge(rollout: Rollout) -> Judgement:
        answer = final_answer(rollout.response)
        accuracy = compare(answer) if answer else 0.0
        return Judgement(
            accuracy, tag_share(rollout.response), accuracy == 1.0, {name: accuracy})

    return judge


def _accepted(sample: Sample) -> list[str]:
    """Read the accepted answers: a JSON list of texts, or the ground truth itself."""
    answers = _texts(sample.ground_truth)
    if not all(answer.strip() for answer in answers):
        raise SampleError(f'{sample.title}: the ground truth is empty')
    return answers


def _texts(text: str) -> list[str]:
    if text.lstrip().startswith('['):
        try:
            answers: Any = json.loads(text)
        except ValueError:
            return [text]
        if isinstance(answers, list) and answers and all(isinstance(a, str) for a in answers):
            return answers
    return [text]


def _last_boxed(text: str) -> str | None:
    r"""Give what is in the last ``\boxed{}`` whose braces are balanced."""
    start = text.rfind('\\boxed{')
    if start < 0:
        return None
    depth = 0
    for place in range(start + len('\\boxed'), len(text)):
        depth += (text[place] == '{') - (text[place] == '}')
        if not depth:
            return text[start + len('\\boxed{'):place]
    return None
