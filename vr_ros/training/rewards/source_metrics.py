"""Metrics of a batch, apart for each data source: what a mean over all of them hides.

Source: V-Triune, section 3.3 (source-level metric monitoring), with its names. "Correct" is the
verifier's own rule and not "accuracy is 1", which no IoU ever is.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vr_ros.training.rewards.diagnostics import REFLECTION_WORDS, reflection_words
from vr_ros.training.rewards.scoring import Outcome, Reward
from vr_ros.training.rewards.verifier import Rollout


@dataclass(frozen=True)
class _Line:
    """One rewarded response.

    :param tokens: NaN if unknown.
    """

    reward: Reward
    tokens: float
    truncated: bool
    words: tuple[str, ...]


def source_metrics(
    rollouts: Sequence[Rollout], outcomes: Sequence[Outcome], *, sources: Iterable[str] = (),
    part_names: Iterable[str] = (),
) -> dict[str, float]:
    """Average over the responses of each data source.

    - ``rews_<name>/<source>``: final, accuracy, format, correct and every part of the verifiers,
      with IoU, precision and recall at 50, 75, 95 and 99 among them;
    - ``response_length_<source>/…``: mean_length in tokens and length_clip_ratio, the share cut off
      at the limit; both also for correct and wrong answers;
    - ``reflection_ratios_<source>/…``: how many responses go back on what they said, among correct
      and wrong answers, and how many of those with and without reflection are correct;
    - ``reflection_words_<source>/<word>``: share of responses with the word;
    - ``failures/<source>``: share of responses without a reward; these count nowhere else.

    :param sources: those that are to have entries also without a response: trainers on several
        machines want the same keys everywhere.
    :param part_names: likewise, of parts.
    :return: NaN where there is nothing to average over.
    """
    lines: dict[str, list[_Line]] = {source: [] for source in sources}
    asked: dict[str, int] = dict.fromkeys(lines, 0)
    for rollout, outcome in zip(rollouts, outcomes, strict=True):
        source = rollout.sample.data_source
        asked[source] = asked.get(source, 0) + 1
        mine = lines.setdefault(source, [])
        if isinstance(outcome, Reward):
            tokens = math.nan if rollout.tokens is None else float(rollout.tokens)
            mine.append(_Line(
                outcome, tokens, rollout.truncated, reflection_words(rollout.response)))
    names = tuple(part_names)
    metrics: dict[str, float] = {}
    for source, mine in lines.items():
        metrics |= _rewards(source, mine, names)
        metrics |= _lengths(source, mine)
        metrics |= _reflection(source, mine)
        failed = asked[source] - len(mine)
        metrics[f'failures/{source}'] = failed / asked[source] if asked[source] else math.nan
    return metrics


def _rewards(source: str, lines: Sequence[_Line], part_names: Sequence[str]) -> dict[str, float]:
    columns = [line.reward.as_columns({*part_names, *line.reward.parts}) for line in lines]
    names = dict.fromkeys(('final', 'accuracy', 'format', 'correct', *part_names))
    names |= dict.fromkeys(name for row in columns for name in row)
    return {f'rews_{name}/{source}': _mean(row.get(name, math.nan) for row in columns)
            for name in names}


def _lengths(source: str, lines: Sequence[_Line]) -> dict[str, float]:
    right = [line for line in lines if line.reward.is_correct]
    wrong = [line for line in lines if not line.reward.is_correct]
    metrics = {}
    for which, some in (('', lines), ('correct_', right), ('wrong_', wrong)):
        metrics[f'response_length_{source}/mean_{which}length'] = _mean(
            line.tokens for line in some)
        metrics[f'response_length_{source}/length_{which}clip_ratio'] = _mean(
            line.truncated for line in some)
    return metrics


def _reflection(source: str, lines: Sequence[_Line]) -> dict[str, float]:
    reflects = [(bool(line.words), line.reward.is_correct) for line in lines]
    ratios = {
        'reflection_ratio': _mean(said for said, _ in reflects),
        'reflection_ratio_in_correct_answers': _mean(said for said, right in reflects if right),
        'reflection_ratio_in_incorrect_answers': _mean(
            said for said, right in reflects if not right),
        'correct_ratio_in_reflection_texts': _mean(right for said, right in reflects if said),
        'correct_ratio_in_no_reflection_texts': _mean(
            right for said, right in reflects if not said),
    }
    words = {f'reflection_words_{source}/{word}': _mean(word in line.words for line in lines)
             for word in REFLECTION_WORDS}
    return {f'reflection_ratios_{source}/{name}': value for name, value in ratios.items()} | words


def _mean(values: Iterable[float]) -> float:
    """Average what is not NaN."""
    known = [float(value) for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
