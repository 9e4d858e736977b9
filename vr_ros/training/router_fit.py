"""Fit the table of words that routes instructions: ``./run train router``."""
from __future__ import annotations

import argparse
import logging
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from vr_ros.core.router import route
from vr_ros.core.word_router import (
    CLASS_TASKS,
    CLASSES,
    Vocabulary,
    WordRouter,
    features_of,
    hash_of,
    tokens_of,
)
from vr_ros.models.task_router import save_word_router
from vr_ros.sim import phrasings as sim_phrasings
from vr_ros.sim.dice import Dice
from vr_ros.training.options import number_from
from vr_ros.training.router_phrasings import (
    Construction,
    constructions,
    known_words,
    wider,
)
from vr_ros.training.router_writer import instructions

log = logging.getLogger(__name__)

DEFAULT_OUT = Path('weights/sim_tiny/router')
# How often each wording of the simulator is shown.
SIM_REPEATS = 8
# Of the optimiser: which features weigh most is known after a few.
ROUGH_STEPS, STEPS = 25, 120


@dataclass(frozen=True)
class FitOptions:
    """What a fit may use.

    :param softness: the regularisation's C of the logistic regression.
    :param least_texts: what fewer texts have does not count.
    :param most_features: so many of the weightiest are kept.
    :param hidden: with this chance, each of a text's rarer words is hidden in its second showing.
    :param common: a word of more than this share of the texts is never hidden.
    """

    softness: float = 15.0
    least_texts: int = 6
    most_features: int = 9000
    hidden: float = 0.0
    common: float = 0.02


# Three times as large, better at unknown verbs, worse at what other projects ask: docs/tasks.md.
WIDER = FitOptions(softness=50.0, most_features=30_000, hidden=0.15)


class Forgetful(Vocabulary):
    """A vocabulary without some of its words.

    :param hidden: what stands for itself no more.
    """

    def __init__(self, known: Vocabulary, hidden: Collection[str]) -> None:
        self._known, self._hidden = known, hidden

    def read(self, word: str) -> str:
        """Give the known word that a word is; '' for none, or a hidden one."""
        found = self._known.read(word)
        return '' if found in self._hidden else found

    def verb(self, word: str) -> str:
        """Give the known verb of an -ing form; '' for none, or a hidden one."""
        found = self._known.verb(word)
        return '' if found in self._hidden else found


def training_set(number: int, seed: int,
                 known: Sequence[Construction] | None = None) -> list[tuple[str, str]]:
    """Give what the router is fitted on: drawn instructions, and the simulator's for training.

    :param number: of drawn ones.
    :param known: constructions to draw from; None: all.
    :return: text and class of each.
    """
    return [*instructions('train', number, seed, known), *sim_instructions('train', seed)]


def sim_instructions(split: str, seed: int, repeats: int = SIM_REPEATS) -> list[tuple[str, str]]:
    """Show every wording of the simulator with queries drawn at random.

    :param split: 'train' or 'heldout'.
    :return: text and class of each.
    """
    found = []
    for text in sim_phrasings.samples(split, repeats, Dice(np.random.default_rng(seed))):
        query = sim_phrasings.understand(text)
        if query is not None:  # an equal wording of two templates is understood as one of them
            found.append((text, query.task.name.lower()))
    return found


def fit(examples: Sequence[tuple[str, str]], words: frozenset[str],
        options: FitOptions | None = None, *, with_rules: bool = True) -> WordRouter:
    """Fit a logistic regression, twice: on all features, and on the weightiest of them.

    :param examples: text and class, a name of CLASSES, of each.
    :param words: which stand for themselves.
    :param with_rules: count what the rules say.
    """
    options = options or FitOptions()
    rows, target = _shown(examples, Vocabulary(words.__contains__), options, with_rules=with_rules)
    hashes, counts = np.unique(np.concatenate(rows), return_counts=True)
    kept = hashes[counts >= options.least_texts]
    counts = counts[counts >= options.least_texts]
    model = _regress(_matrix(rows, kept), target, options.softness, ROUGH_STEPS)
    if len(kept) > options.most_features:
        spread = model.coef_ - model.coef_.mean(axis=0)
        worth = np.abs(spread).max(axis=0) * np.sqrt(counts)
        kept = np.sort(kept[np.argsort(-worth)[:options.most_features]])
    model = _regress(_matrix(rows, kept), target, options.softness, STEPS)
    weights = (model.coef_ - model.coef_.mean(axis=0)).T
    scales = np.abs(weights).max(axis=0) / 127
    return WordRouter(
        np.unique(np.array([hash_of(word) for word in words], np.uint32)), kept,
        np.rint(weights / scales).astype(np.int8), scales.astype(np.float32),
        model.intercept_.astype(np.float32))


def _shown(examples: Sequence[tuple[str, str]], known: Vocabulary, options: FitOptions, *,
           with_rules: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """Show each text as it is, and once more as it looks to who does not know some of its words.

    All words of the training are known: without this, a fit would never see a verb that is not.

    :return: the hashes of what counts, and the class, of each showing.
    """
    rng = np.random.default_rng(len(examples))
    own = [sorted(set(map(known.read, tokens_of(text))) - {''}) for text, _ in examples]
    texts_with = Counter(word for words in own for word in words)
    most = options.common * len(examples)
    rows, target = [], []
    for (text, kind), words in zip(examples, own, strict=True):
        verdict = route(text) if with_rules else None
        hidden = {word for word in words
                  if texts_with[word] <= most and rng.random() < options.hidden}
        for vocabulary in (known, Forgetful(known, hidden))[:1 + bool(hidden)]:
            rows.append(_hashes(features_of(text, vocabulary, verdict)))
            target.append(CLASSES.index(kind))
    return rows, np.array(target)


def _hashes(features: set[str]) -> np.ndarray:
    return np.unique(np.fromiter(map(hash_of, features), np.uint32, len(features)))


def _matrix(rows: Sequence[np.ndarray], kept: np.ndarray) -> csr_matrix:
    """:return: (texts, features), each row of Euclidean length 1, as WordRouter weighs them."""
    columns = []
    for row in rows:
        places = np.minimum(np.searchsorted(kept, row), len(kept) - 1)
        columns.append(places[kept[places] == row])
    lengths = np.array([len(column) for column in columns])
    values = np.repeat(1 / np.sqrt(np.maximum(lengths, 1)), lengths)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    return csr_matrix((values, np.concatenate(columns), starts), (len(rows), len(kept)))


def _regress(
    matrix: csr_matrix, target: np.ndarray, softness: float, steps: int
) -> LogisticRegression:
    model = LogisticRegression(C=softness, max_iter=steps, tol=1e-4)
    with warnings.catch_warnings():
        # To stop early regularises, too; how good the table is, is measured on other instructions.
        warnings.simplefilter('ignore', ConvergenceWarning)
        return model.fit(matrix, target)


def accuracy(router: WordRouter, examples: Sequence[tuple[str, str]]) -> float:
    """Share of instructions whose most probable class is the right task."""
    tasks = dict(zip(CLASSES, CLASS_TASKS, strict=True))
    right = [CLASS_TASKS[int(router.probabilities(text).argmax())] is tasks[kind]
             for text, kind in examples]
    return float(np.mean(right))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw instructions, fit, examine, write.

    :return: 0 done.
    """
    parser = argparse.ArgumentParser(prog='run train router', description=__doc__)
    parser.add_argument('--number', type=number_from(1000), default=50_000,
                        help='instructions to fit on')
    parser.add_argument('--seed', type=number_from(0), default=1, help='of the instructions')
    parser.add_argument('--out', type=Path, default=DEFAULT_OUT, help='directory of the result')
    parser.add_argument('--wider', action='store_true',
                        help='with phrasings_wider.txt, hidden words and more features')
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    known = constructions() + wider() if options.wider else constructions()
    examples = training_set(options.number, options.seed, known)
    log.info('fit on %d instructions, some minutes', len(examples))
    router = fit(examples, known_words(known), WIDER if options.wider else None)
    save_word_router(router, options.out)
    size = sum(path.stat().st_size for path in options.out.iterdir())
    log.info('%s: %d features, %d bytes', options.out, len(router.features), size)
    for name, rows in (
            ('trained on', examples[:2000]),
            ('held-out phrasings and words', list(instructions('heldout', 2000, options.seed))),
            ("the simulator's held-out wordings", sim_instructions('heldout', options.seed))):
        log.info('%s: %.4f right', name, accuracy(router, rows))
    print('next: ./run bench router')
    return 0
