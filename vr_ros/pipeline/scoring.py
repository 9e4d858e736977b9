"""Give the objects of an answer their scores, from the source that the model card names."""
from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from vr_ros.core.answer import parse_answer
from vr_ros.core.confidence import (
    OWN,
    Features,
    boxes_of,
    consistency,
    log_odds,
    mask_features,
    missing_objects,
    text_features,
)
from vr_ros.core.prompt import PromptTemplate, clean_question, render_chat, without_markup
from vr_ros.core.rle import rle_box
from vr_ros.core.types import NAN, Detection, ParsedObject, ScoreSource, Size, Task
from vr_ros.core.written import Written
from vr_ros.models.card_confidence import fill_in, needed_features
from vr_ros.models.card_types import ConfidenceCard, ExistenceCard
from vr_ros.models.qwen_vl import QwenVLReasoner, Reasoning
from vr_ros.models.second_look import SecondLook

# The aim is said first; how long an expression searches is up to its author.
_AIM_CHARS = 2000


@dataclass(frozen=True, eq=False)
class Answered:
    """An answer and all that scores can come from.

    :param objects: as the model wrote them, then those that only other answers name.
    :param detections: the same in pixels of the image.
    :param size: of the image.
    :param others: objects of answers drawn by chance; empty: none were drawn.
    :param added: how many of the objects, the last ones, only those name.
    """

    reasoner: QwenVLReasoner
    question: str
    task: Task
    objects: tuple[ParsedObject, ...]
    reasoning: Reasoning
    detections: tuple[Detection, ...]
    size: Size
    others: tuple[tuple[ParsedObject, ...], ...] = ()
    added: int = 0

    @property
    def own(self) -> tuple[ParsedObject, ...]:
        """The objects of the answer itself."""
        return self.objects[:len(self.objects) - self.added]

    def written(self, ends: tuple[str, ...]) -> Written:
        """Bring the text together with its tokens.

        :param ends: texts that say that no object follows.
        """
        top = self.reasoning.top
        return Written(
            self.reasoning.text, np.array(self.reasoning.token_spans, int).reshape(-1, 2),
            top.log_probs, lambda step: self.reasoner.texts_of(top.ids[step]), ends)


class Scorer:
    """Scores by one model card.

    :param card: what the scores are made of.
    """

    def __init__(self, card: ConfidenceCard) -> None:
        self.card = card
        self._needed = needed_features(card)

    @property
    def asks_more(self) -> bool:
        """Whether the model is asked more about the image than the instruction."""
        return bool(self._needed) or self.draws

    @property
    def draws(self) -> bool:
        """Whether answers are drawn by chance, to compare with."""
        return 'consistency' in self._needed or self.card.add_from is not None

    def draw(
        self, reasoner: QwenVLReasoner, reasoning: Reasoning,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[tuple[ParsedObject, ...], ...]:
        """Draw other answers to the same question.

        :param should_stop: asked after each token; True: there are none.
        :return: the objects of each; empty where nothing needs them.
        """
        if not self.draws or reasoning.prefix is None:
            return ()
        look = SecondLook(reasoner, reasoning.prefix)
        texts = look.samples(self.card.samples, self.card.temperature, should_stop=should_stop)
        return tuple(parse_answer(text).objects for text in texts)

    def missing(
        self, objects: Sequence[ParsedObject], others: Sequence[Sequence[ParsedObject]]
    ) -> tuple[ParsedObject, ...]:
        """Choose what other answers name and this one does not, as far as the card wants it."""
        if self.card.add_from is None:
            return ()
        return missing_objects(objects, others, self.card.add_from)

    def judge(self, answered: Answered) -> tuple[tuple[Detection, ...], int]:
        """Score the objects of an answer.

        :return: those that are kept, with the indices under which they were announced, and how many
            were left out for their score.
        """
        found = answered.detections
        if self.card.source is ScoreSource.NONE or not found:
            return found, 0
        scores = self.scores(self.features(answered, self._needed), len(found))
        kept = tuple(
            dataclasses.replace(one, score=float(score), score_source=self.card.source)
            for one, score in zip(found, scores, strict=True)
            # What has no score is not below any.
            if not score < self.card.threshold)
        return kept, len(found) - len(kept)

    def scores(self, features: Features, number: int) -> np.ndarray:
        """Make scores of features.

        :param number: of objects.
        :return: (number,) 0 to 1, or NaN where the source says nothing.
        """
        source = self.card.source
        if source is ScoreSource.FUSED and self.card.fusion is not None:
            return self.card.fusion.score(features, number)
        return SCORES[source](features)

    def features(self, answered: Answered, costly: Collection[str]) -> dict[str, np.ndarray]:
        """Compute what is known of the objects of an answer.

        :param costly: what is wanted of existence and consistency.
        :return: (N,) by name, see vr_ros.core.confidence.
        """
        mask_boxes = [
            None if found.mask is None else rle_box(found.mask) for found in answered.detections]
        aim, kind = aim_of(answered, self.card.aim)
        features = {
            name: np.pad(values, (0, answered.added), constant_values=NAN)
            for name, values in text_features(
                answered.written(self.card.ends), answered.own, kind,
                self.card.opposites).items()}
        features[OWN] = np.arange(len(answered.objects)) < len(answered.own)
        features |= mask_features(answered.detections, mask_boxes, answered.size)
        if 'existence' in costly and self.card.existence is not None:
            features['existence'] = log_odds(exist(answered, self.card.existence, aim))
        if 'consistency' in costly:
            features['consistency'] = consistency(
                boxes_of(answered.objects), [boxes_of(other) for other in answered.others])
        return features


def _existence(features: Features) -> np.ndarray:
    """Give the probability of yes; none where the model itself says that it is something else."""
    is_other = np.asarray(features.get('contradiction', np.nan)) == 1
    return np.where(is_other, 0.0, expit(features['existence']))


SCORES: Mapping[ScoreSource, Callable[[Features], np.ndarray]] = {
    ScoreSource.TOKENS: lambda features: np.exp(features['tokens']),
    ScoreSource.MARGIN: lambda features: expit(features['margin']),
    ScoreSource.EXISTENCE: _existence,
    ScoreSource.MASK_IOU: lambda features: np.clip(features['mask_iou'], 0, 1),
    ScoreSource.CONSISTENCY: lambda features: features['consistency'],
}


def aim_of(answered: Answered, expression: str) -> tuple[str, str]:
    """Read in the answer what the model looks for.

    :param expression: see ConfidenceCard.aim.
    :return: all that it says about it, and what kind of thing it is; '' where it does not say.
    """
    beginning = answered.reasoning.text[:_AIM_CHARS]
    found = re.search(expression, beginning) if expression else None
    if found is None:
        return '', ''
    # The model may have written what would end a prompt.
    return without_markup(found.group(1) or ''), found.groups()[-1] or ''


def exist(answered: Answered, card: ExistenceCard, aim: str) -> np.ndarray:
    """Ask about each object whether it is there.

    :param aim: what the model says it looks for.

    :return: (N,) probability of yes among yes and no; NaN where the model says neither.
    """
    reasoning, reasoner = answered.reasoning, answered.reasoner
    if reasoning.prefix is None:
        return np.full(len(answered.objects), NAN)
    own = reasoner.card.template(answered.task)
    template = PromptTemplate(own.system, card.user) if card.user else own
    asked = clean_question(answered.question, reasoner.card.question_style(answered.task))
    prompts = []
    for found in answered.objects:
        values = _placeholders(found, answered, aim)
        turn = dataclasses.replace(template, user=fill_in(card.user, values)) if card.user else own
        chat = render_chat(turn, asked, reasoner.patches.image_tokens(reasoning.model_size))
        prompts.append(chat + fill_in(card.assistant, values))
    look = SecondLook(reasoner, reasoning.prefix)
    return look.probability(prompts, card.yes, card.no, card.max_tokens).numpy()


def _placeholders(
    found: ParsedObject, answered: Answered, aim: str
) -> dict[str, str]:
    reasoner, size = answered.reasoner, answered.reasoning.model_size
    scale = np.ones(2)
    if reasoner.card.coordinates == 'relative_1000':
        scale = np.array([size.width, size.height]) / 1000
    corners = np.array(found.box).reshape(2, 2) * scale
    last = np.array([size.width, size.height]) // reasoner.patches.factor - 1
    column, row = np.clip(corners.mean(axis=0) // reasoner.patches.factor, 0, last).astype(int)
    # As answers have it: no spaces.
    box = ','.join(f'{number:g}' for number in found.box)
    return {
        'question': answered.question,
        'label': without_markup(found.label),
        'box': f'[{box}]',
        'row': str(row),
        'column': str(column),
        'aim': aim,
    }
