"""One answer while it is being given: the reasoner's text becomes objects, these get masks."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vr_ros.core.answer import AnswerParser, ParsedAnswer, ParseOutcome
from vr_ros.core.events import Event, EventSink, MasksEvent, ObjectsEvent, TextEvent
from vr_ros.core.geometry import boxes_to_image, points_to_image
from vr_ros.core.types import Detection, ParsedObject, Perception, Size, Task, Timing
from vr_ros.models.card import ModelCard
from vr_ros.models.qwen_vl import QwenVLReasoner, Reasoning
from vr_ros.models.rows import Asked
from vr_ros.models.segmenter import ImageFeatures, Segmenter
from vr_ros.pipeline.masking import MaskJob
from vr_ros.pipeline.outcome import outcome_status, points_inside, without
from vr_ros.pipeline.scoring import Answered, Scorer

RELATIVE = Size(1000, 1000)


@dataclass(frozen=True)
class Models:
    """What takes part in an answer.

    :param segmenter: None: without masks.
    """

    card: ModelCard
    reasoner: QwenVLReasoner
    segmenter: Segmenter | None
    scorer: Scorer


class Answering:
    """The state of one answer while it is being given.

    :param image: (H, W, 3) uint8 RGB, :param question: a validated instruction, :param task: known.
    :param sink: called with text, objects and masks as they come, one call at a time.
    """

    def __init__(
        self, models: Models, image: np.ndarray, question: str, task: Task, sink: EventSink,
    ) -> None:
        self._models, self._sink = models, sink
        self._image, self._question, self._task = image, question, task
        self._size = Size(image.shape[1], image.shape[0])
        self._sink_lock = threading.Lock()
        self._parser = AnswerParser()
        self._detections: list[Detection] = []
        self._model_size = (
            RELATIVE
            if models.card.reasoner.coordinates == 'relative_1000'
            else models.reasoner.model_size(self._size, task)
        )
        # Numbers in a plain answer are no boxes.
        self._segmenter = models.segmenter if task is not Task.VQA else None
        self._masks: MaskJob | None = None
        self._should_stop: Callable[[], bool] = lambda: False

    def answer(self, should_stop: Callable[[], bool]) -> Perception:
        """Answer, the segmenter beside the reasoner.

        :param should_stop: asked after each token.
        """
        started = time.perf_counter()
        self._should_stop = should_stop
        self.begin_masks()
        try:
            (reasoning,) = self._models.reasoner.reason_batch([self.asked(should_stop)])
        except BaseException:
            if self._masks:
                self._masks.abandon()
            raise
        return self.finish(reasoning, started)

    def asked(self, should_stop: Callable[[], bool] = lambda: False) -> Asked:
        """Say what the reasoner is to be asked."""
        return Asked(
            self._image, self._question, self._task,
            on_text=self._take,
            is_answered=lambda: self._parser.done,
            should_stop=should_stop,
            keep_prefix=self._models.scorer.asks_more and self._task is not Task.VQA,
        )

    def begin_masks(self) -> None:
        """Let the segmenter begin, with the objects that are known already."""
        if self._segmenter is not None:
            self._masks = MaskJob(
                self._segmenter, self._image, lambda d: self._emit(MasksEvent(d)))
            self._masks.add(self._detections)

    def finish(self, reasoning: Reasoning, started: float) -> Perception:
        """Make the result of what the reasoner wrote, as soon as all masks are there.

        :param started: by time.perf_counter().
        """
        parsed = self._parser.finish()
        self._locate(parsed.objects[len(self._detections) :])
        others, added = self._others(parsed, reasoning)
        if reasoning.finish_reason == 'cancelled' and self._masks:
            self._masks.abandon()
        elif self._masks:
            masked = self._masks.finish()
            self._detections = [masked.get(d.index, d) for d in self._detections]
        return self._perception(parsed, reasoning, others, added, started)

    def _others(
        self, parsed: ParsedAnswer, reasoning: Reasoning
    ) -> tuple[tuple[tuple[ParsedObject, ...], ...], tuple[ParsedObject, ...]]:
        """Draw other answers where the scorer wants them.

        :return: their objects, and those of them that are added to this answer.
        """
        is_list = parsed.outcome in (ParseOutcome.OBJECTS, ParseOutcome.EMPTY)
        if not is_list or reasoning.finish_reason == 'cancelled':
            return (), ()
        scorer = self._models.scorer
        others = scorer.draw(self._models.reasoner, reasoning, self._should_stop)
        added = scorer.missing(parsed.objects, others)
        self._locate(added)
        return others, added

    @property
    def features(self) -> ImageFeatures | None:
        """What the segmenter saw of the frame; None without masks."""
        return self._masks.features if self._masks else None

    def _emit(self, event: Event) -> None:
        with self._sink_lock:
            self._sink(event)

    def _take(self, piece: str) -> None:
        delta = self._parser.feed(piece)
        if delta.reasoning:
            self._emit(TextEvent(delta.reasoning))
        self._locate(delta.objects)

    def _locate(self, objects: Sequence[ParsedObject]) -> None:
        if not objects or self._task is Task.VQA:  # numbers in a plain answer are no boxes
            return
        boxes = boxes_to_image(np.array([o.box for o in objects]), self._model_size, self._size)
        points = points_to_image(np.array([o.point for o in objects]), self._model_size, self._size)
        first = len(self._detections)
        new = tuple(
            Detection(
                index=first + i,
                box=tuple(map(float, boxes[i])),
                label=o.label,
                point=tuple(map(float, points[i])) if points_inside(o) else None,
            )
            for i, o in enumerate(objects)
        )
        self._detections.extend(new)
        self._emit(ObjectsEvent(new, masks_pending=self._segmenter is not None))
        if self._masks:
            self._masks.add(new)

    def _perception(
        self, parsed: ParsedAnswer, reasoning: Reasoning,
        others: tuple[tuple[ParsedObject, ...], ...], added: tuple[ParsedObject, ...],
        started: float,
    ) -> Perception:
        status, message = outcome_status(parsed, reasoning.finish_reason, self._task)
        detections: tuple[Detection, ...] = ()
        if not status.is_error:
            scorer = self._models.scorer
            detections, left_out = scorer.judge(Answered(
                self._models.reasoner, self._question, self._task, parsed.objects + added,
                reasoning, tuple(self._detections), self._size, others, len(added)))
            status, message = without(left_out, detections, status, message, scorer.card)
        # A plain text where boxes were asked for is an answer all the same: the model overrules
        # the router.
        is_text = parsed.outcome is ParseOutcome.TEXT and not status.is_error
        task = Task.VQA if is_text else self._task
        return Perception(
            status,
            task,
            detections,
            answer=parsed.answer_text if task is Task.VQA else '',
            reasoning=parsed.reasoning,
            raw_text=reasoning.text,
            finish_reason=reasoning.finish_reason,
            status_message=message,
            image_size=self._size,
            model_id=self._models.card.name,
            timing=Timing(
                preprocess_ms=reasoning.preprocess_ms,
                first_token_ms=reasoning.first_token_ms,
                generate_ms=reasoning.generate_ms,
                segment_ms=self._masks.busy_ms if self._masks else 0.0,
                total_ms=(time.perf_counter() - started) * 1e3,
                prompt_tokens=reasoning.prompt_tokens,
                completion_tokens=len(reasoning.token_ids),
            ),
        )
