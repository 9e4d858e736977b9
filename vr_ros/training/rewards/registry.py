"""Which verifiers there are, by name."""
from __future__ import annotations

from collections.abc import Iterable

from vr_ros.training.rewards import answer_verifiers
from vr_ros.training.rewards.detection import DETECTION
from vr_ros.training.rewards.mixture import Similarity, mixture_verifier
from vr_ros.training.rewards.samples import SampleError, suggestion
from vr_ros.training.rewards.verifier import Verifier
from vr_ros.training.rewards.visionreasoner import VISION_REASONER


class Registry:
    """Verifiers by name; it does not change: :meth:`with_verifiers` gives another one."""

    def __init__(self, verifiers: Iterable[Verifier]) -> None:
        """Take verifiers.

        :raises ValueError: two have the same name.
        """
        self._verifiers: dict[str, Verifier] = {}
        for verifier in verifiers:
            if verifier.name in self._verifiers:
                raise ValueError(f'two verifiers are called "{verifier.name}"')
            self._verifiers[verifier.name] = verifier

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._verifiers)

    @property
    def part_names(self) -> tuple[str, ...]:
        """All parts of all verifiers: trainers want the same columns for every sample."""
        return tuple(dict.fromkeys(
            part for verifier in self._verifiers.values() for part in verifier.parts))

    def find(self, name: str) -> Verifier:
        """Give a verifier.

        :raises SampleError: there is none of that name.
        """
        if name not in self._verifiers:
            raise SampleError(f'no verifier "{name}"; {suggestion(name, self._verifiers)}')
        return self._verifiers[name]

    def with_verifiers(self, *more: Verifier) -> Registry:
        """Give a registry with further verifiers, such as one that needs a segmenter."""
        return Registry((*self._verifiers.values(), *more))


def default_registry(similarity: Similarity | None = None) -> Registry:
    """Give all verifiers that need no model.

    :param similarity: cosine of image and text, for the part of that name of ``mixture``.
    """
    plain = Registry((
        VISION_REASONER, DETECTION, answer_verifiers.EXACT, answer_verifiers.NUMERIC,
        answer_verifiers.EDIT_DISTANCE, answer_verifiers.COUNTING, answer_verifiers.MATHEMATICS))
    return plain.with_verifiers(mixture_verifier(plain.find, similarity))
