"""One image and one instruction in, one perception out. Usable without ROS and without the worker
program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from vr_ros.core.answer import AnswerParser, ParsedAnswer, ParseOutcome
from vr_ros.core.events import Event, EventSink, MasksEvent, ObjectsEvent, TextEvent
from vr_ros.core.geometry import boxes_to_image, points_to_image
from vr_ros.core.prompt import validate_instruction
from vr_ros.core.router import route
from vr_ros.core.types import (
    Detection,
    ParsedObject,
    Perception,
    PerceptionError,
    Size,
    Status,
    Task,
    Timing,
)
from vr_ros.models.card import ModelCard, load_card
from vr_ros.models.memory import check_card_fits
from vr_ros.models.qwen_vl import QwenVLReasoner, Reasoning
from vr_ros.models.segmenter import ImageFeatures, Segmenter
from vr_ros.models.segmenters import load_segmenter
from vr_ros.models.video_memory import VideoMemory
from vr_ros.models.weights import resolve_weights
from vr_ros.pipeline.masking import MaskJob
from vr_ros.pipeline.once_more import answer_with_retry, with_smaller_images
from vr_ros.pipeline.outcome import outcome_status, points_inside, without
from vr_ros.pipeline.scoring import Answered, Scorer
from vr_ros.pipeline.tracking import CameraTracks
from vr_ros.pipeline.worker_tracking import Tracks

RELATIVE = Size(1000, 1000)


def pick_device(wanted: str) -> str:
    """Resolve 'auto' to the first GPU, or the CPU where there is none."""
    if wanted != 'auto':
        return wanted
    return 'cuda' if torch.cuda.is_available() else 'cpu'


class Perceiver:
    """A reasoner and a segmenter that answer instructions about images.

    :param card: what the models expect and how they answer.
    :param segmenter: None leaves masks out.
    """

    def __init__(
        self, card: ModelCard, reasoner: QwenVLReasoner, segmenter: Segmenter | None
    ) -> None:
        self.card, self._reasoner, self._segmenter = card, reasoner, segmenter
        self.model_id = card.name
        self._memory = None
        if segmenter is not None and segmenter.has_memory:
            self._memory = VideoMemory(segmenter)
        self.scorer = Scorer(card.confidence)
        self._tracks: dict[str, CameraTracks] = {}
        self._image: np.ndarray | None = None
        self._features: ImageFeatures | None = None

    @classmethod
    def from_card(cls, card: ModelCard | str, device: str = 'auto') -> Perceiver:
        """Load a model by its card.

        :param card: a card, the name of a known one, or the path of its file.
        :raises PerceptionError: MODEL_UNAVAILABLE with what is missing and how to get it.
        """
        card = load_card(card) if isinstance(card, str) else card
        device = pick_device(device)
        check_card_fits(card, device)
        # The quick one first: what it lacks is then known before the large one was loaded.
        segmenter = load_segmenter(card.segmenter, device) if card.segmenter else None
        reasoner = QwenVLReasoner(card.reasoner, resolve_weights(card.reasoner.weights), device)
        return cls(card, reasoner, segmenter)

    def close(self) -> None:
        """Let go of the models and of the device memory they hold."""
        del self._reasoner, self._segmenter, self._memory, self._tracks
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def perceive(
        self,
        image: np.ndarray,
        text: str,
        task: Task = Task.AUTO,
        *,
        want_masks: bool = True,
        on_event: EventSink | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Perception:
        """Answer one instruction about one image.

        :param image: (H, W, 3) uint8 RGB.
        :param on_event: called with text, objects and masks as they come, one call at a time.
        :param should_stop: asked after each token; True ends the answer with CANCELLED.
        :return: detections in pixels of ``image``, or the answer's text.
        :raises PerceptionError: BAD_INSTRUCTION, BAD_IMAGE or OUT_OF_MEMORY, see once_more.py.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise PerceptionError(
                Status.BAD_IMAGE, f'not an RGB image: {image.dtype} {image.shape}'
            )
        question = validate_instruction(text)
        task = route(question).task if task is Task.AUTO else task
        stop = should_stop or (lambda: False)

        def attempt(smaller: bool, sink: EventSink) -> Perception:
            reasoner = with_smaller_images(self._reasoner) if smaller else self._reasoner
            run = _Run(self, reasoner, image, task, want_masks, sink)
            perception = run.answer(question, stop)
            self._image, self._features = image, run.features
            return perception

        return answer_with_retry(attempt, on_event or (lambda event: None), stop)

    @property
    def segmenter(self) -> Segmenter | None:
        """What makes the masks; None without."""
        return self._segmenter

    @property
    def features(self) -> ImageFeatures | None:
        """What the segmenter saw of the frame that was answered last; None without masks."""
        return self._features

    @property
    def can_track(self) -> bool:
        """Whether the segmenter's checkpoint has a video memory."""
        return self._memory is not None

    def watch(self, camera: str) -> None:
        """Remember the frames of a camera from now on: the next answer is to be followed.

        :raises PerceptionError: MODEL_UNAVAILABLE, there is no video memory.
        """
        if self._segmenter is None or self._memory is None:
            raise PerceptionError(Status.MODEL_UNAVAILABLE, 'this model cannot follow objects')
        if camera not in self._tracks:
            self._tracks[camera] = CameraTracks(self._segmenter, self._memory)
        self._tracks[camera].watch()

    def follow(self, camera: str, seed_id: int, detections: Sequence[Detection] | None) -> None:
        """Follow objects of the answer given last on the frames that track() gets.

        :param camera: one that was watched while the answer was made.
        :param seed_id: by which track() names the answer.
        :param detections: of that answer, see CameraTracks.follow.
        """
        if self._image is not None:
            self._tracks[camera].follow(seed_id, self._image, self._features, detections)

    def track(self, camera: str, image: np.ndarray) -> Tracks:
        """Find what is followed on a camera's next frame; may be called while perceive() runs."""
        tracks = self._tracks.get(camera)
        return Tracks() if tracks is None else tracks.step(image)

    def forget(self, camera: str) -> None:
        """Follow nothing on a camera any more."""
        self._tracks.pop(camera, None)


class _Run:
    """The state of one answer while it is being given."""

    def __init__(self, perceiver: Perceiver, reasoner: QwenVLReasoner, image: np.ndarray,
                 task: Task, want_masks: bool, sink: EventSink) -> None:
        self._perceiver, self._reasoner, self._sink = perceiver, reasoner, sink
        self._image, self._task = image, task
        self._size = Size(image.shape[1], image.shape[0])
        self._sink_lock = threading.Lock()
        self._parser = AnswerParser()
        self._detections: list[Detection] = []
        self._model_size = (
            RELATIVE
            if perceiver.card.reasoner.coordinates == 'relative_1000'
            else reasoner.model_size(self._size, task)
        )
        segmenter = perceiver._segmenter
        self._masks: MaskJob | None = None
        if want_masks and segmenter is not None and task is not Task.VQA:
            self._masks = MaskJob(segmenter, image, lambda d: self._emit(MasksEvent(d)))

    def answer(self, question: str, should_stop: Callable[[], bool]) -> Perception:
        started = time.perf_counter()
        try:
            reasoning = self._reasoner.reason(
                self._image, question, self._task,
                on_text=self._take,
                is_answered=lambda: self._parser.done,
                should_stop=should_stop,
                keep_prefix=self._perceiver.scorer.asks_more and self._task is not Task.VQA,
            )
        except BaseException:
            if self._masks:
                self._masks.abandon()
            raise
        parsed = self._parser.finish()
        self._locate(parsed.objects[len(self._detections) :])
        if reasoning.finish_reason == 'cancelled' and self._masks:
            self._masks.abandon()
        elif self._masks:
            masked = self._masks.finish()
            self._detections = [masked.get(d.index, d) for d in self._detections]
        return self._perception(question, parsed, reasoning, started)

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
        self._emit(ObjectsEvent(new, masks_pending=self._masks is not None))
        if self._masks:
            self._masks.add(new)

    def _perception(
        self, question: str, parsed: ParsedAnswer, reasoning: Reasoning, started: float
    ) -> Perception:
        status, message = outcome_status(parsed, reasoning.finish_reason, self._task)
        detections: tuple[Detection, ...] = ()
        if not status.is_error:
            detections, left_out = self._perceiver.scorer.judge(Answered(
                self._reasoner, question, self._task, parsed.objects, reasoning,
                tuple(self._detections), self._size))
            status, message = without(left_out, detections, status, message)
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
            model_id=self._perceiver.model_id,
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
