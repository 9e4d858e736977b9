"""Verifiers of answers in words and numbers, by hand; mathematics where it is installed."""
from __future__ import annotations

import sys
import threading

import pytest

from vr_ros.training.rewards.answer_verifiers import (
    COUNTING,
    EDIT_DISTANCE,
    EXACT,
    MATHEMATICS,
    NUMERIC,
    count_in,
    final_answer,
    numbers_in,
    sole_number,
)
from vr_ros.training.rewards.samples import Sample, SampleError
from vr_ros.training.rewards.verifier import Rollout, VerifierError


def judge(verifier, truth: str, answer: str, **parameters):
    sample = Sample(verifier.name, truth, id='7', parameters=parameters)
    response = f'<think>a</think><answer>{answer}</answer>'
    return verifier.prepare(sample)(Rollout(response, sample))


@pytest.mark.parametrize(('response', 'answer'), [
    ('<answer> red </answer>', 'red'),
    ('<answer>a</answer><answer>b</answer>', 'a'),
    (r'<answer>so \boxed{\frac{1}{2}}</answer>', r'\frac{1}{2}'),
    (r'<answer>\boxed{1} or \boxed{2}</answer>', '2'),          # the last one
    (r'<answer>\boxed{1</answer>', r'\boxed{1'),                # never closed
    ('### The final answer is: 5\nGood.', '5'),                 # PeBR-R1
    ('### the final answer is:\n\n 5', '5'),
    ('### The final answer is: 4\n### The final answer is: 5', '5'),
    ('It is 5.', ''),                                           # no answer
    ('<answer>5', ''),
    ('', ''),
])
def test_final_answer(response, answer) -> None:
    assert final_answer(response) == answer


@pytest.mark.parametrize(('text', 'numbers'), [
    ('3', [3]), ('-3.5', [-3.5]), ('1,000 and 2', [1000, 2]), ('12 %', [0.12]), ('12%', [0.12]),
    ('1e3', [1000]), ('3.', [3]), ('(3)', [3]), ('x12', []), ('12x', []), ('12,5', []),
    ('1.2.3', []), ('3, 4', [3, 4]), ('', []),
])
def test_numbers(text, numbers) -> None:
    assert numbers_in(text) == numbers


@pytest.mark.parametrize(('text', 'number'), [
    ('There are 3 mugs.', 3), ('three mugs', 3), ('Three of 5', 5), ('3 or 4', None), ('3 = 3', 3),
    ('none', 0), ('no idea, two or three', None), ('', None), ('9' * 500, None),
])
def test_sole_number(text, number) -> None:
    assert sole_number(text) == number


@pytest.mark.parametrize(('truth', 'answer', 'accuracy'), [
    ('Red', 'the red.', 1), ('red', 'red mug', 0), ('["red", "crimson"]', 'Crimson', 1),
    ('["red", "crimson"]', 'blue', 0), ('[1]', '[1]', 1), ('red', '', 0),
    # Signs are what is asked for where there is nothing else, and part of a number.
    ('+', '+', 1), ('+', '-', 0), ('+', '', 0), ('<', '>', 0), ('-5', '5', 0), ('-5', '-5', 1),
    ('3.5', '3/5', 0), ('1.5', '1 5', 0), ('1.5', '1.50', 1), ('50%', '50', 0), ('50%', '50 %', 1),
    ('5', 'five', 0), ('room 5', 'Room 5.', 1),
])
def test_exact(truth, answer, accuracy) -> None:
    found = judge(EXACT, truth, answer)
    assert (found.accuracy, found.is_correct) == (accuracy, accuracy == 1)


@pytest.mark.parametrize('verifier', [EXACT, EDIT_DISTANCE])
@pytest.mark.parametrize('truth', ['', ' ', '["red", ""]'])
def test_an_empty_truth_is_none(verifier, truth) -> None:
    with pytest.raises(SampleError, match='is empty'):
        judge(verifier, truth, 'red')


def test_no_answer_is_right_by_no_truth() -> None:
    sample = Sample('exact', '+')
    assert EXACT.prepare(sample)(Rollout('I do not know', sample)).accuracy == 0


@pytest.mark.parametrize(('truth', 'answer', 'parameters', 'accuracy'), [
    ('5', '5', {}, 1), ('5', '5.0', {}, 1), ('5', 'it is 5 m', {}, 1), ('5', '5.1', {}, 0),
    ('100', '105', {'relative': 0.05}, 1), ('100', '105.1', {'relative': 0.05}, 0),
    ('0.2', '0.3', {'absolute': 0.1}, 1), ('0.2', '0.31', {'absolute': 0.1}, 0),
    ('-10', '-10.5', {'relative': 0.05}, 1), ('0', '0.0', {'relative': 0.5}, 1),
    ('0', '0.1', {'relative': 0.5}, 0), ('1,000', '1000', {}, 1), ('0.5', '50%', {}, 1),
    ('5', '5 or 6', {}, 0), ('5', 'five', {}, 1), ('5', 'many', {}, 0), ('5', 'nan', {}, 0),
])
def test_numeric(truth, answer, parameters, accuracy) -> None:
    assert judge(NUMERIC, truth, answer, **parameters).accuracy == accuracy


@pytest.mark.parametrize(('truth', 'answer', 'parameters', 'accuracy'), [
    ('abcd', 'abcd', {}, 1), ('abcd', 'ABCD', {}, 1), ('abcd', 'ABCD', {'case': True}, 0),
    ('abcd', 'abxd', {}, 0.75), ('abcd', 'ab', {}, 0.5), ('abcd', 'abcdefgh', {}, 0.5),
    ('a b', 'a   b', {}, 1), ('abcd', 'wxyz', {}, 0), ('abcd', '', {}, 0),
    ('abcd', 'abxy', {'least': 0.5}, 0.5), ('abcd', 'axyz', {'least': 0.5}, 0),
    ('["abc", "xyz"]', 'xya', {}, 2 / 3), ('ab', 'ab' * 100, {}, 0),
])
def test_edit_distance(truth, answer, parameters, accuracy) -> None:
    found = judge(EDIT_DISTANCE, truth, answer, **parameters)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.is_correct == (accuracy == 1)


@pytest.mark.parametrize(('truth', 'answer', 'partial', 'accuracy'), [
    ('3', '3', 0.5, 1), ('3', 'three', 0.5, 1), ('3', 'There are 3 of them', 0.5, 1),
    ('3', '2', 0.5, 0.5 * 2 / 3), ('3', '5', 0.5, 0.5 * 1 / 3), ('3', '6', 0.5, 0),
    ('3', '9', 0.5, 0), ('3', '2', 0.0, 0), ('4', '3', 0.9, 0.9 * 3 / 4),
    ('0', '0', 0.5, 1), ('0', 'none', 0.5, 1), ('0', '1', 0.5, 0), ('0', '[]', 0.5, 1),
    ('2', '[{"bbox_2d": [0, 0, 1, 1]}, {"bbox_2d": [5, 5, 6, 6]}]', 0.5, 1),   # its list is counted
    ('2', '[{"bbox_2d": [0, 0, 1, 1]}]', 0.5, 0.25),
    ('3', '[3]', 0.5, 1), ('1', '[7]', 0.5, 0), ('3', '[1, 2, 3]', 0.5, 0),   # no objects
    ('3', '-3', 0.5, 0), ('3', '2.5', 0.5, 0), ('3', '2 or 3', 0.5, 0), ('3', '', 0.5, 0),
])
def test_counting(truth, answer, partial, accuracy) -> None:
    found = judge(COUNTING, truth, answer, partial=partial)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.is_correct == (accuracy == 1) == (found.parts['exact_count'] == 1)


def test_the_format_is_a_quarter_for_each_tag() -> None:
    sample = Sample('exact', 'red')
    shares = [EXACT.prepare(sample)(Rollout(response, sample)).format for response in (
        'red', '<answer>red</answer>', '<think>a</think><answer>red</answer>',
        '<think>a<think></think><answer>red</answer>')]
    assert shares == [0, 0.5, 1, 0.75]


def test_an_answer_without_a_count_has_none() -> None:
    assert count_in('three') is None and count_in('<answer>[{</answer>') is None


@pytest.mark.parametrize(('verifier', 'truth', 'parameters', 'message'), [
    (NUMERIC, 'five', {}, "sample '7': 'five' is no number"),
    (NUMERIC, '5', {'relative': -1}, 'a tolerance is below 0'),
    (NUMERIC, '5', {'relativ': 1}, 'numeric has no parameter "relativ"; did you mean "relative"'),
    (NUMERIC, '5', {'relative': '1'}, "relative is '1', not of type float"),
    (NUMERIC, '5', {'relative': True}, 'relative is True'),
    (COUNTING, '2.5', {}, 'is no count'), (COUNTING, '-1', {}, 'is no count'),
    (COUNTING, '2', {'partial': 1.0}, 'partial is 1.0'),
    (EDIT_DISTANCE, 'a', {'case': 1}, 'case is 1, not of type bool'),
    (EXACT, 'a', {'case': True}, 'there are: none'),
])
def test_a_wrong_sample_is_named(verifier, truth, parameters, message) -> None:
    with pytest.raises(SampleError, match=message):
        verifier.prepare(Sample(verifier.name, truth, id='7', parameters=parameters))


def test_mathematics_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'math_verify', None)
    with pytest.raises(ImportError, match='vr_ros.math'):
        judge(MATHEMATICS, '1', '1')
    assert judge(MATHEMATICS, '1', 'x' * 2000).accuracy == 0   # too long to be compared


def test_mathematics_refuses_other_threads_than_the_main_one() -> None:
    """Its time limit is a signal, which only the main thread of a process gets."""
    caught: list[Exception] = []

    def run() -> None:
        try:
            judge(MATHEMATICS, '1', '1')
        except VerifierError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert 'score in a pool' in str(caught[0])


@pytest.mark.parametrize(('truth', 'answer', 'accuracy'), [
    (r'\frac{1}{2}', '0.5', 1), ('1/2', r'so it is \boxed{\frac{2}{4}}', 1), ('12', '13', 0),
    (r'["7", "\\sqrt{8}"]', r'2\sqrt{2}', 1), ('12', 'no idea', 0), ('12', '', 0),
])
def test_mathematics(truth, answer, accuracy) -> None:
    pytest.importorskip('math_verify')
    assert judge(MATHEMATICS, truth, answer).accuracy == accuracy
