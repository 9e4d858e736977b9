"""What a verifier is: it reads a sample's truth once and then judges any number of responses."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vr_ros.training.rewards.samples import ParameterError, Sample, is_weight, suggestion


class VerifierError(RuntimeError):
    """A response could not be judged, for a reason that is not in the response."""


@dataclass(frozen=True)
class Rollout:
    """One response to one sample.

    :param progress: share of the training that is done, 0 to 1; schedules need it.
    :param tokens: of the response, if known.
    :param truncated: the response was cut off at the length limit.
    """

    response: str
    sample: Sample
    progress: float | None = None
    tokens: int | None = None
    truncated: bool = False


@dataclass(frozen=True)
class Judgement:
    """What a verifier says about one response.

    :param accuracy: 0 to 1.
    :param format: 0 to 1.
    :param is_correct: the answer is right by the verifier's own rule, whatever its form. An IoU of
        exactly 1 hardly ever is, so that V-Triune's "accuracy is 1" finds no correct detection.
    :param parts: what went into them, by name, each with the range of its own.
    """

    accuracy: float
    format: float
    is_correct: bool
    parts: Mapping[str, float] = field(default_factory=dict)


Judge = Callable[[Rollout], Judgement]


@dataclass(frozen=True)
class Verifier:
    """A way to score responses, by name.

    :param prepare: reads a sample's parameters, then its truth, raises ParameterError or
        SampleError where they are wrong, and gives what judges responses to it. That never raises
        for anything in a response; it raises VerifierError where something else fails.
    :param parts: names of the parts of every judgement.
    :param accuracy_ratio: weight of the accuracy, where a sample has none.
    :param format_ratio: weight of the format, where a sample has none.
    :raises ValueError: a weight is no number from 0 on.
    """

    name: str
    prepare: Callable[[Sample], Judge]
    parts: tuple[str, ...] = ()
    accuracy_ratio: float = 1.0
    format_ratio: float = 0.1

    def __post_init__(self) -> None:
        for name in ('accuracy_ratio', 'format_ratio'):
            if not is_weight(getattr(self, name)):
                raise ValueError(f'verifier "{self.name}": {name} is {getattr(self, name)!r}, not a'
                                 ' number from 0 on')


def parameters_of(sample: Sample, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Fill a sample's parameters up with the defaults.

    A default says the type: a number takes any number, bool, str, list and dict only their own;
    None takes anything.

    :raises ParameterError: a parameter is not known, or of another type.
    """
    for key, value in sample.parameters.items():
        if key not in defaults:
            raise ParameterError(
                f'{sample.title}: {sample.verifier} has no parameter "{key}"; '
                f'{suggestion(key, defaults)}')
        default = defaults[key]
        if default is None:
            continue
        if isinstance(default, float):
            fits = (isinstance(value, int | float) and not isinstance(value, bool)
                    and math.isfinite(value))
        else:
            fits = type(value) is type(default)
        if not fits:
            raise ParameterError(
                f'{sample.title}: {key} is {value!r}, not of type {type(default).__name__}')
    return {**defaults, **sample.parameters}


def final_reward(judgement: Judgement, accuracy_ratio: float, format_ratio: float) -> float:
    """Weigh accuracy and format, 0 to 1.

    Source: V-Triune, section 3.1: (a * accuracy + f * format) / (a + f).
    """
    weighted = accuracy_ratio * judgement.accuracy + format_ratio * judgement.format
    return weighted / (accuracy_ratio + format_ratio)
