"""What a model card says, as values; vr_ros.models.card reads them from files."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vr_ros.core.confidence import Fusion
from vr_ros.core.prompt import PromptTemplate
from vr_ros.core.types import PerceptionError, ScoreSource, Size, Status, Task


@dataclass(frozen=True)
class WeightsCard:
    """Where weights come from: a repository on the Hugging Face hub, or this machine.

    :param hub: repository id, '' for this machine.
    :param revision: commit, branch or tag on the hub; '' takes what is there and records it.
    :param path: the directory, or the file of Meta's layout, absolute; None for the hub.
    :param sha256: expected hex digest by file name, for the files that the card names.
    """

    hub: str = ''
    revision: str = ''
    path: Path | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.path:
            return str(self.path)
        return f'{self.hub}@{self.revision}' if self.revision else self.hub


@dataclass(frozen=True)
class DtypeCard:
    """Number format of the weights, by the kind of device ('cuda', 'cpu', …)."""

    default: str
    by_device: Mapping[str, str] = field(default_factory=dict)

    def on(self, device_type: str) -> str:
        """:return: 'float32', 'bfloat16' or 'float16'."""
        return self.by_device.get(device_type, self.default)


@dataclass(frozen=True)
class ImageCard:
    """How large the model sees an image.

    :param size: width and height to which every image is squashed; None keeps the aspect ratio.
    :param min_pixels, max_pixels: limits of width * height when the aspect ratio is kept.
    :param interpolation: 'bilinear' or 'bicubic'.
    """

    size: Size | None
    min_pixels: int = 0
    max_pixels: int = 0
    interpolation: str = 'bilinear'


@dataclass(frozen=True)
class TaskCard:
    """How one task is put to the model.

    :param question_style: 'visionreasoner' (lower case, stripped) or 'verbatim'.
    """

    template: PromptTemplate
    question_style: str
    image: ImageCard


@dataclass(frozen=True)
class ReasonerCard:
    """A vision-language model.

    :param family: 'qwen2_5_vl' or 'qwen3_vl'.
    :param coordinates: 'absolute_resized' (pixels of the resized image) or 'relative_1000'.
    :param max_new_tokens: an answer ends there at the latest.
    :param stop: texts at which an answer ends.
    """

    weights: WeightsCard
    family: str
    coordinates: str
    tasks: Mapping[Task, TaskCard]
    max_new_tokens: int
    stop: tuple[str, ...]
    dtype: DtypeCard

    def _task(self, task: Task) -> TaskCard:
        if task not in self.tasks:
            raise PerceptionError(
                Status.BAD_INSTRUCTION,
                f'the model has no prompt for {task.name.lower()}; ask for another task',
            )
        return self.tasks[task]

    def template(self, task: Task) -> PromptTemplate:
        """:raises PerceptionError: BAD_INSTRUCTION when the card has no prompt for the task."""
        return self._task(task).template

    def question_style(self, task: Task) -> str:
        return self._task(task).question_style

    def image(self, task: Task) -> ImageCard:
        return self._task(task).image

    def dtype_for(self, device_type: str) -> str:
        return self.dtype.on(device_type)


@dataclass(frozen=True)
class SegmenterCard:
    """A SAM 2 checkpoint.

    :param image_size: edge in pixels of the square that it sees.
    :param backend: 'transformers', or 'sam2' for Meta's package.
    :param config: with 'sam2', the name of one of the package's configurations or the absolute path
        of a YAML file; '' otherwise.
    """

    weights: WeightsCard
    image_size: int
    dtype: DtypeCard
    backend: str = 'transformers'
    config: str = ''

    def dtype_for(self, device_type: str) -> str:
        return self.dtype.on(device_type)


@dataclass(frozen=True)
class RouterCard:
    """What picks the task of an instruction that names none.

    :param kind: 'rules', 'words' (a WordRouter) or 'qwen2' (a language model, as TaskRouter-1.5B).
    :param weights: None for the rules.
    :param min_probability: below it a model is not believed, and the rules hold.
    :param default: the task where neither is sure; AUTO: what the rules guess.
    :param dtype: of a language model.
    :param max_new_tokens: how far a language model may write.
    """

    kind: str = 'rules'
    weights: WeightsCard | None = None
    min_probability: float = 0.5
    default: Task = Task.AUTO
    dtype: DtypeCard = DtypeCard('float32')
    max_new_tokens: int = 512

    def dtype_for(self, device_type: str) -> str:
        return self.dtype.on(device_type)


@dataclass(frozen=True)
class ExistenceCard:
    """How a model is asked whether an object that it named is there.

    {question}, {label}, {box} (in the model's own numbers), {row} and {column} (of the image token
    under the box's centre) and {aim} stand for what they say.

    :param user: the message; '' asks the instruction's own prompt again.
    :param assistant: how the model's answer begins.
    :param yes, no: ways to say it: the first token of each counts.
    :param max_tokens: how far the model may write until it has said one of them.
    """

    yes: tuple[str, ...]
    no: tuple[str, ...]
    user: str = ''
    assistant: str = ''
    max_tokens: int = 1


@dataclass(frozen=True)
class ConfidenceCard:
    """Where the scores of detections come from.

    :param threshold: objects whose score is below are left out.
    :param samples: answers drawn by chance, for consistency.
    :param temperature: at which they are drawn.
    :param add_from: objects that at least this share of them names, and the answer does not, are
        added to it; None: none are.
    :param aim: a regular expression; its first group, as found in the reasoning, is what the model
        says it looks for, its last group, where it has more, what kind of thing that is.
    :param opposites: words of which only one can be true of an object, such as all colours.
    :param ends: texts that the model writes in place of an object, besides the end of the list.
    :param fusion: None where none was fitted.
    """

    source: ScoreSource = ScoreSource.NONE
    threshold: float = 0.0
    samples: int = 0
    temperature: float = 1.0
    add_from: float | None = None
    ends: tuple[str, ...] = ()
    aim: str = ''
    opposites: tuple[tuple[str, ...], ...] = ()
    existence: ExistenceCard | None = None
    fusion: Fusion | None = None


@dataclass(frozen=True)
class ModelCard:
    """A model as the user names it.

    :param segmenter: None when the model has none: results then carry no masks.
    """

    name: str
    description: str
    licence: str
    reasoner: ReasonerCard
    segmenter: SegmenterCard | None
    router: RouterCard
    confidence: ConfidenceCard = ConfidenceCard()
