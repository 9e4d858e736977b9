"""Draws several answers to a row from the model of a card, as the node would ask it."""
from __future__ import annotations

import hashlib

from vr_ros.core.prompt import validate_instruction
from vr_ros.datasets.sample import SampleError as BrokenImageError
from vr_ros.datasets.sample import decode_image
from vr_ros.models.card_types import ReasonerCard
from vr_ros.models.qwen_vl import QwenVLReasoner
from vr_ros.models.rows import Asked
from vr_ros.models.second_look import SecondLook
from vr_ros.models.weights import resolve_weights
from vr_ros.training.adapters.columns import Ready
from vr_ros.training.data.schema import TASKS
from vr_ros.training.trainers.difficulty.answers import Answers


class Sampler:
    """Asks one model.

    :param number: of answers to each row.
    :param temperature: 1 is the model's own distribution.
    :param seed: the same gives the same answers to a row, whatever was asked before.
    :param device: one that is there, as torch calls it.
    :raises PerceptionError: MODEL_UNAVAILABLE, with what to do.
    """

    def __init__(self, card: ReasonerCard, number: int, temperature: float, seed: int,
                 device: str) -> None:
        self._reasoner = QwenVLReasoner(card, resolve_weights(card.weights), device)
        self._number, self._temperature, self._seed = number, temperature, seed

    def ask(self, ready: Ready) -> Answers:
        """Draw the answers to one row; a row that cannot be asked about says why."""
        row = ready.row
        if ready.image is None:
            return Answers(row.id, problem='it has no image to ask about')
        try:
            image = decode_image(ready.image)
        except BrokenImageError as error:
            return Answers(row.id, problem=str(error))
        # One token is enough: what counts is that the prompt has been read.
        [first] = self._reasoner.reason_batch([Asked(
            image, validate_instruction(row.problem), TASKS[row.task], keep_prefix=True,
            should_stop=lambda: True)])
        assert first.prefix is not None
        texts = SecondLook(self._reasoner, first.prefix).samples(
            self._number, self._temperature, _seed_of(self._seed, row.id))
        texts = tuple(map(self._until_stop, texts))
        # The end itself is a token, too.
        tokens = tuple(1 + len(ids) for ids in self._reasoner.tokenizer(list(texts))['input_ids'])
        return Answers(row.id, texts, tokens)

    def _until_stop(self, text: str) -> str:
        """Cut behind the first stop text: those are looked for at some tokens only."""
        ends = [text.index(stop) + len(stop) for stop in self._reasoner.card.stop if stop in text]
        return text[:min(ends)] if ends else text


def _seed_of(seed: int, id: str) -> int:
    return int.from_bytes(hashlib.sha256(f'{seed}/{id}'.encode()).digest()[:4], 'big')
