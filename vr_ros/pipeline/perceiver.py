"""One image and one instruction in, one perception out. Usable without ROS and without the worker
program."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from vr_ros.core.events import EventSink
from vr_ros.core.prompt import validate_instruction
from vr_ros.core.types import (
    Detection,
    Perception,
    PerceptionError,
    Status,
    Task,
)
from vr_ros.models.card import ModelCard, load_card
from vr_ros.models.card_confidence import with_source
from vr_ros.models.device import pick_device
from vr_ros.models.memory import check_card_fits
from vr_ros.models.qwen_vl import QwenVLReasoner
from vr_ros.models.segmenter import ImageFeatures, Segmenter
from vr_ros.models.segmenters import load_segmenter
from vr_ros.models.task_router import TaskRouter, load_task_router
from vr_ros.models.video_memory import VideoMemory
from vr_ros.models.weights import resolve_weights
from vr_ros.pipeline.answering import Answering, Models
from vr_ros.pipeline.once_more import answer_with_retry, with_smaller_images
from vr_ros.pipeline.scoring import Scorer
from vr_ros.pipeline.tracking import CameraTracks
from vr_ros.pipeline.worker_tracking import Tracks


class Perceiver:
    """A reasoner and a segmenter that answer instructions about images.

    :param card: what the models expect and how they answer.
    :param segmenter: None leaves masks out.
    :param router: None: the rules pick the task of an instruction that names none.
    """

    def __init__(
        self, card: ModelCard, reasoner: QwenVLReasoner, segmenter: Segmenter | None,
        router: TaskRouter | None = None,
    ) -> None:
        self.card, self._reasoner, self._segmenter = card, reasoner, segmenter
        self._router = router or TaskRouter()
        self.model_id = card.name
        self._memory = None
        if segmenter is not None and segmenter.has_memory:
            self._memory = VideoMemory(segmenter)
        self.scorer = Scorer(card.confidence)
        self._tracks: dict[str, CameraTracks] = {}
        self._image: np.ndarray | None = None
        self._features: ImageFeatures | None = None

    @classmethod
    def from_card(
        cls, card: ModelCard | str, device: str = 'auto', score_source: str = 'card'
    ) -> Perceiver:
        """Load a model by its card.

        :param card: a card, the name of a known one, or the path of its file.
        :param score_source: 'card', or where scores come from instead, such as 'none'.
        :raises PerceptionError: MODEL_UNAVAILABLE with what is missing and how to get it.
        """
        card = load_card(card) if isinstance(card, str) else card
        if score_source != 'card':
            card = with_source(card, score_source)
        device = pick_device(device)
        check_card_fits(card, device)
        # The quick ones first: what they lack is then known before the large one was loaded.
        router = load_task_router(card.router, device)
        segmenter = load_segmenter(card.segmenter, device) if card.segmenter else None
        reasoner = QwenVLReasoner(card.reasoner, resolve_weights(card.reasoner.weights), device)
        return cls(card, reasoner, segmenter, router)

    def close(self) -> None:
        """Let go of the models and of the device memory they hold."""
        del self._reasoner, self._segmenter, self._memory, self._tracks, self._router
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
        question, task = self._checked(image, text, task)
        stop = should_stop or (lambda: False)

        def attempt(smaller: bool, sink: EventSink) -> Perception:
            run = Answering(self._models(want_masks, smaller), image, question, task, sink)
            perception = run.answer(stop)
            self._image, self._features = image, run.features
            return perception

        return answer_with_retry(attempt, on_event or (lambda event: None), stop)

    def perceive_batch(
        self, questions: Sequence[tuple[np.ndarray, str, Task]]
    ) -> list[Perception]:
        """Answer several instructions, each about its own image; the reasoner does so side by side.

        :param questions: images, texts and tasks, as perceive() takes them.
        :return: an answer to each, in their order; an error status where one cannot be asked.
        """
        started = time.perf_counter()
        models = self._models()
        answers: dict[int, Perception] = {}
        runs: dict[int, Answering] = {}
        for place, (image, text, task) in enumerate(questions):
            try:
                question = self._checked(image, text, task)
            except PerceptionError as error:
                answers[place] = Perception(error.status, status_message=error.message)
            else:
                runs[place] = Answering(models, image, *question, lambda event: None)
        if runs:
            written = self._reasoner.reason_batch([run.asked() for run in runs.values()])
            for (place, run), reasoning in zip(runs.items(), written, strict=True):
                run.begin_masks()
                answers[place] = run.finish(reasoning, started)
        return [answers[place] for place in range(len(questions))]

    def task_of(self, text: str) -> Task:
        """Pick the task of an instruction that names none.

        :raises PerceptionError: BAD_INSTRUCTION.
        """
        return self._router.task_of(validate_instruction(text))

    def _checked(self, image: np.ndarray, text: str, task: Task) -> tuple[str, Task]:
        question = checked(image, text)
        return question, self._router.task_of(question) if task is Task.AUTO else task

    def _models(self, want_masks: bool = True, smaller_images: bool = False) -> Models:
        reasoner = with_smaller_images(self._reasoner) if smaller_images else self._reasoner
        return Models(self.card, reasoner, self._segmenter if want_masks else None, self.scorer)

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


def checked(image: np.ndarray, text: str) -> str:
    """Make sure that a question can be asked.

    :return: the instruction without surplus.
    :raises PerceptionError: BAD_INSTRUCTION or BAD_IMAGE.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise PerceptionError(Status.BAD_IMAGE, f'not an RGB image: {image.dtype} {image.shape}')
    return validate_instruction(text)
