"""Measure how often the task of an instruction is found, by rules, a table of words, and both.

On phrasings and words that the table was not fitted on, and on phrasings that were written apart
from those of the training, plain and with stories and typing errors around; on constructions that
a table of its own was not fitted on; on sentences written by hand; and on the simulator's held-out
wordings. The table alone is fitted here, without the rules' word. Intervals are of 95 %, by a
bootstrap over constructions: their instructions go right or wrong together.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from vr_ros.core.router import route
from vr_ros.core.types import Task
from vr_ros.core.word_router import CLASS_TASKS, CLASSES, WordRouter
from vr_ros.evaluation.claims import Claim, print_claims, write_claims
from vr_ros.evaluation.metrics.figures import figures
from vr_ros.evaluation.metrics.measure import ratio
from vr_ros.models.card import load_card
from vr_ros.models.task_router import TaskRouter, ask_words, load_task_router, load_word_router
from vr_ros.models.weights import resolve_weights
from vr_ros.training.router_fit import WIDER, fit, sim_instructions, training_set
from vr_ros.training.router_phrasings import (
    Construction,
    apart,
    constructions,
    known_words,
    read_sections,
)
from vr_ros.training.router_writer import instructions, with_lines

HARD = Path(__file__).parents[1] / 'test' / 'training' / 'hard_instructions.txt'
TARGET = 0.99
TASKS = dict(zip(CLASSES, CLASS_TASKS, strict=True))
# VisionReasoner's four types; detection and segmentation are one.
TYPES = {'detection': 1, 'segmentation': 1, 'counting': 2, 'editing': 3, 'vqa': 4}
PLAIN, DRESSED = 'held-out phrasings and words', 'the same with stories and typing errors'
APART, APART_DRESSED = 'phrasings written apart', 'those with stories and typing errors'
BUILT, BY_HAND = 'held-out constructions', 'written by hand'
SIMULATED = "the simulator's held-out wordings"
NOT_FITTED = '--fit 0: no other table was fitted'

Examples = Sequence[tuple[str, str]]
# Name of a generated set, where its phrasings come from, whether nothing stands around them.
DRAWN: tuple[tuple[str, Callable[[], Sequence[Construction]], bool], ...] = (
    (PLAIN, constructions, True), (DRESSED, constructions, False),
    (APART, apart, True), (APART_DRESSED, apart, False))
Way = Callable[[str], Task]


def by_rules(text: str) -> Task:
    return route(text).task


def by_table_alone(table: WordRouter) -> Way:
    """Believe the table whatever it says; it was fitted without the rules' word."""
    return lambda text: CLASS_TASKS[int(table.probabilities(text, with_rules=False).argmax())]


def read_hard() -> Examples:
    lines = HARD.read_text(encoding='utf-8').splitlines()
    return [(text, kind) for kind, text in read_sections(lines)]


def right(examples: Examples, found: Sequence[Task]) -> float:
    """:return: share of the examples whose task was found."""
    return sum(task is TASKS[kind] for task, (_, kind) in zip(found, examples, strict=True)) / len(
        examples)


def confusion(examples: Examples, found: Sequence[Task]) -> dict[str, dict[str, int]]:
    """:return: class -> task that was found -> how often."""
    counts = Counter((kind, task.name.lower())
                     for task, (_, kind) in zip(found, examples, strict=True))
    return {kind: {task: n for (of, task), n in sorted(counts.items()) if of == kind}
            for kind in CLASSES}


def right_types(examples: Examples, table: WordRouter) -> float:
    """:return: share of the examples whose type of VisionReasoner the table finds."""
    found = [TYPES[CLASSES[int(table.probabilities(text).argmax())]] for text, _ in examples]
    return sum(one == TYPES[kind] for one, (_, kind) in zip(found, examples, strict=True)) / len(
        examples)


def median_ms(texts: Iterable[str], run: Callable[[str], object]) -> float:
    """:return: median milliseconds of a text that was not seen before."""
    times = []
    for text in texts:
        started = time.perf_counter()
        run(text)
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def claims_of(name: str, examples: Examples, answers: dict[str, list[Task] | None],
              table: WordRouter, target: float | None) -> list[Claim]:
    """Give the accuracy of each way; the target is for rules and table together."""
    claims = [
        Claim(f'{name}: {way}', None if found is None else right(examples, found), '',
              target if way == BOTH else None, reason=NOT_FITTED if found is None else '')
        for way, found in answers.items()]
    return [*claims, Claim(f"{name}: VisionReasoner's types, by the table",
                           right_types(examples, table))]


def interval_of(name: str, examples: Examples, found: Sequence[Task],
                lines: Sequence[str]) -> list[Claim]:
    """Give both ends of the interval of rules and table together."""
    is_right = [float(task is TASKS[kind])
                for task, (_, kind) in zip(found, examples, strict=True)]
    figure, = figures([ratio(name, is_right, [1.0] * len(is_right))], lines)
    return [Claim(f'{name}: {BOTH}, {end} end of 95 %', value)
            for end, value in (('lower', figure.low), ('upper', figure.high))]


RULES, ALONE, BOTH = 'rules alone', 'table alone', 'rules and table'


def measure(number: int, fit_on: int, seed: int) -> tuple[list[Claim], dict[str, object]]:
    """Route every set in every way.

    :param number: instructions of each generated set.
    :param fit_on: instructions that the other tables are fitted on; 0: there are none.
    :return: claims, and details for the report.
    """
    card = load_card('sim_tiny').router
    if card.weights is None:
        raise SystemExit('the card of sim_tiny names no table of words')
    table = load_word_router(resolve_weights(card.weights))
    both = load_task_router(card, 'cpu').task_of
    alone = fit(training_set(fit_on, seed), known_words(), WIDER,
                with_rules=False) if fit_on else None
    ways: dict[str, Way | None] = {
        RULES: by_rules, ALONE: by_table_alone(alone) if alone else None, BOTH: both}
    drawn = {name: list(with_lines('heldout', number, seed, source(), plain=plain))
             for name, source, plain in DRAWN}
    sets: dict[str, Examples] = {
        **{name: [row[:2] for row in rows] for name, rows in drawn.items()},
        BY_HAND: read_hard(), SIMULATED: sim_instructions('heldout', seed, repeats=8)}
    claims: list[Claim] = []
    confusions: dict[str, object] = {}
    for name, examples in sets.items():
        target = {PLAIN: TARGET, SIMULATED: 1.0}.get(name)
        answers = {way: None if ask is None else [ask(text) for text, _ in examples]
                   for way, ask in ways.items()}
        claims += claims_of(name, examples, answers, table, target)
        confusions[name] = {way: confusion(examples, found)
                            for way, found in answers.items() if found is not None}
        if name in drawn:
            claims += interval_of(name, examples, answers[BOTH] or [],
                                  [line for *_, line in drawn[name]])
    claims += _on_constructions(number, fit_on, seed, card.min_probability)
    texts = [text for text, _ in sets[BY_HAND]]
    fresh = load_word_router(resolve_weights(card.weights))
    claims += [Claim('an instruction by rules, median', median_ms(texts, route), 'ms', None,
                     'lower'),
               Claim('an instruction by rules and table, median',
                     median_ms(texts, fresh.probabilities), 'ms', 5.0, 'lower'),
               Claim('bytes of the table', _size(resolve_weights(card.weights)), 'bytes', 100_000,
                     'lower')]
    wrong = [{'text': text, 'class': kind, 'task': both(text).name.lower()}
             for text, kind in sets[BY_HAND] if both(text) is not TASKS[kind]]
    return claims, {'sizes': {name: len(examples) for name, examples in sets.items()},
                    'min_probability': card.min_probability, 'confusion': confusions,
                    'wrong_by_hand': wrong, 'fitted_here_on': fit_on}


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def _on_constructions(number: int, fit_on: int, seed: int, min_probability: float) -> list[Claim]:
    """Fit on four fifths of the lines of phrasings.txt alone, and route what the others say."""
    name = f'{BUILT}: {BOTH}'
    if not fit_on:
        return [Claim(name, None, reason=NOT_FITTED)]
    is_out = {one.line: zlib.crc32(one.line.encode()) % 5 == 0 for one in constructions()}
    known = [one for one in constructions() if not is_out[one.line]]
    left_out = [one for one in constructions() if is_out[one.line]]
    table = fit(training_set(fit_on, seed, known), known_words(known), WIDER)
    card = replace(load_card('sim_tiny').router, min_probability=min_probability)
    examples = list(instructions('heldout', number, seed, left_out, plain=True))
    both = TaskRouter(card, ask_words(table)).task_of
    return [Claim(name, right(examples, [both(text) for text, _ in examples])),
            Claim(f'{BUILT}: {RULES}', right(examples, [by_rules(text) for text, _ in examples]))]


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--number', type=int, default=2000, help='instructions of a generated set')
    parser.add_argument('--fit', type=int, default=20_000,
                        help='instructions that the tables beside the embedded one are fitted on; '
                             '0: none is')
    parser.add_argument('--seed', type=int, default=7, help='of the instructions')
    options = parser.parse_args()
    if options.number < len(CLASSES):
        parser.error(f'--number is at least {len(CLASSES)}')
    if options.fit and options.fit < 1000:
        parser.error('--fit is 0, or at least 1000')
    started = time.perf_counter()
    claims, details = measure(options.number, options.fit, options.seed)
    print_claims(claims, 'Router')
    if options.json:
        write_claims(
            options.json, claims, seed=options.seed, seconds=time.perf_counter() - started,
            details=details)
    return 0 if all(claim.value is not None for claim in claims) else 1


if __name__ == '__main__':
    sys.exit(main())
