"""Model cards: what must be known of a checkpoint to load it, prompt it and read its answers."""
from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vr_ros.core.prompt import PromptTemplate
from vr_ros.core.types import PerceptionError, Size, Status, Task
from vr_ros.models.card_confidence import read_confidence
from vr_ros.models.card_types import (
    ConfidenceCard,
    DtypeCard,
    ImageCard,
    ModelCard,
    ReasonerCard,
    RouterCard,
    SegmenterCard,
    TaskCard,
    WeightsCard,
)
from vr_ros.models.schema import Section, suggestion

# Family: edge in pixels of one merged image token; sides of the resized image are multiples of it.
FAMILIES: Mapping[str, int] = {'qwen2_5_vl': 28, 'qwen3_vl': 32}
COORDINATES = ('absolute_resized', 'relative_1000')
INTERPOLATIONS = ('bilinear', 'bicubic')
QUESTION_STYLES = ('visionreasoner', 'verbatim')
DTYPES = ('float32', 'bfloat16', 'float16')
SEGMENTER_BACKENDS = ('transformers', 'sam2')
ROUTERS = ('rules', 'words', 'qwen2')
OBJECT_TASKS = (Task.DETECTION, Task.SEGMENTATION, Task.COUNTING)
TASK_KEYS = {task.name.lower(): task for task in (*OBJECT_TASKS, Task.VQA)}
MODELS_PATH_VARIABLE = 'VR_ROS_MODELS_PATH'


def card_directories() -> list[Path]:
    """Where cards are looked for, first match first.

    :return: directories of ``VR_ROS_MODELS_PATH``, then those of this source tree or installation.
    """
    extra = os.environ.get(MODELS_PATH_VARIABLE, '').split(os.pathsep)
    directories = [Path(entry) for entry in extra if entry]
    for ancestor in Path(__file__).resolve().parents:
        if (ancestor / 'package.xml').is_file() or (ancestor / 'vr_ros' / 'models').is_dir():
            directories.append(ancestor / 'config' / 'models')
        directories.append(ancestor / 'share' / 'vr_ros' / 'config' / 'models')
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        if prefix:
            directories.append(Path(prefix) / 'share' / 'vr_ros' / 'config' / 'models')
    return [directory for directory in dict.fromkeys(directories) if directory.is_dir()]


def known_cards() -> dict[str, Path]:
    """:return: file by name of every card that can be found."""
    cards: dict[str, Path] = {}
    for directory in card_directories():
        for path in sorted(directory.glob('*.yaml')):
            cards.setdefault(path.stem, path)
    return cards


def load_card(name_or_path: str | Path) -> ModelCard:
    """Load a model card.

    :param name_or_path: a name such as 'visionreasoner_7b', or the path of a YAML file.
    :raises PerceptionError: MODEL_UNAVAILABLE with one line that says what is wrong and where.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith('.yaml') or os.sep in text:
        path = Path(text).expanduser().absolute()
        if not path.is_file():
            raise PerceptionError(Status.MODEL_UNAVAILABLE, f'no model card at {path}')
        return read_card(path)
    cards = known_cards()
    if text not in cards:
        known = ', '.join(sorted(cards)) or 'none'
        raise PerceptionError(
            Status.MODEL_UNAVAILABLE,
            f'unknown model card "{text}"; known: {known}{suggestion(text, list(cards))}',
        )
    return read_card(cards[text])


def read_card(path: Path) -> ModelCard:
    """Read a model card's file; visionreasoner_7b.yaml explains its keys."""
    root = Section.read(path)
    card = ModelCard(
        name=root.take('name', str, path.stem),
        description=root.take('description', str),
        licence=root.take('licence', str),
        reasoner=_reasoner(root.section('reasoner')),
        segmenter=_segmenter(root.section('segmenter')) if root.has('segmenter') else None,
        router=_router(root),
        confidence=(read_confidence(root.section('confidence')) if root.has('confidence')
                    else ConfidenceCard()),
    )
    root.end()
    return card


def _reasoner(section: Section) -> ReasonerCard:
    family = section.choice('family', tuple(FAMILIES))
    image = _image(section.section('image'), FAMILIES[family])
    card = ReasonerCard(
        weights=_weights(section.section('weights')),
        family=family,
        coordinates=section.choice('coordinates', COORDINATES),
        tasks=_tasks(section.section('prompts'), image, FAMILIES[family]),
        max_new_tokens=section.positive('max_new_tokens'),
        stop=section.texts('stop'),
        dtype=_dtype(section),
    )
    section.end()
    return card


def _segmenter(section: Section) -> SegmenterCard:
    backend = section.choice('backend', SEGMENTER_BACKENDS, 'transformers')
    weights = _weights(section.section('weights'))
    config = ''
    if backend == 'sam2':
        config = _config(section)
        if weights.path is None:
            section.fail('weights.hub', 'backend sam2 takes its checkpoint by path: give the file')
        if weights.sha256 and set(weights.sha256) != {weights.path.name}:
            section.fail('weights.sha256', f'expected the digest of {weights.path.name} alone')
    elif section.has('config'):
        section.fail('config', 'only with backend: sam2; others find it beside their weights')
    card = SegmenterCard(
        weights, section.positive('image_size'), _dtype(section), backend, config
    )
    section.end()
    return card


def _router(root: Section) -> RouterCard:
    """Read 'rules', or what a router model needs."""
    if not isinstance(root.peek('router'), dict):
        kind = root.choice('router', ROUTERS, 'rules')
        if kind != 'rules':
            root.fail('router', f'{kind} needs weights: {{kind: {kind}, weights: {{path: …}}}}')
        return RouterCard()
    section = root.section('router')
    kind = section.choice('kind', ROUTERS)
    default = section.choice('default', ('rules', *TASK_KEYS), 'rules')
    card = RouterCard(kind, default=TASK_KEYS.get(default, Task.AUTO))
    if kind != 'rules':
        card = replace(
            card, weights=_weights(section.section('weights')),
            min_probability=section.number(
                'min_probability', card.min_probability, low=0.0, high=1.0))
    if kind == 'qwen2':
        card = replace(card, dtype=_dtype(section), max_new_tokens=section.positive(
            'max_new_tokens', card.max_new_tokens))
    section.end()
    return card


def _config(section: Section) -> str:
    """:return: a name in the sam2 package, or an absolute path for what begins like a path."""
    config = section.take('config', str)
    if config.startswith(('/', './', '../', '~')):
        return str(_absolute(section, 'config', config))
    return config


def _weights(section: Section) -> WeightsCard:
    hub = section.take('hub', str, '')
    revision = section.take('revision', str, '')
    path = section.take('path', str, '')
    digests = section.section('sha256').rest() if section.has('sha256') else {}
    if bool(hub) == bool(path):
        section.fail('', 'give either hub (with revision) or path')
    if revision and not hub:
        section.fail('revision', 'only for weights on the hub')
    for name, digest in digests.items():
        if not (isinstance(digest, str) and re.fullmatch('[0-9a-f]{64}', digest)):
            section.fail(f'sha256.{name}', f'expected 64 hex digits in quotes, got {digest!r}')
    section.end()
    return WeightsCard(
        hub, revision, _absolute(section, 'path', path) if path else None,
        {str(name): str(digest) for name, digest in digests.items()},
    )


def _absolute(section: Section, name: str, text: str) -> Path:
    """:return: the path that is given relative to the card."""
    try:
        path = section.path.parent / Path(text).expanduser()
    except RuntimeError as error:  # a ~user that is none
        section.fail(name, str(error))
    if '\0' in text:
        section.fail(name, 'holds a zero character')
    return Path(os.path.normpath(path))


def _dtype(section: Section) -> DtypeCard:
    if not isinstance(section.peek('dtype'), dict):
        return DtypeCard(section.choice('dtype', DTYPES))
    inner = section.section('dtype')
    default = inner.choice('default', DTYPES)
    devices = {str(name): inner.choice(str(name), DTYPES) for name in inner.names()}
    return DtypeCard(default, devices)


def _image(section: Section, factor: int) -> ImageCard:
    interpolation = section.choice('interpolation', INTERPOLATIONS, 'bilinear')
    if not section.has('size'):
        low, high = section.positive('min_pixels'), section.positive('max_pixels')
        if low > high:
            section.fail('min_pixels', f'{low} is above max_pixels {high}')
        section.end()
        return ImageCard(None, low, high, interpolation)
    size = section.take('size', list)
    whole = all(type(edge) is int and edge > 0 and edge % factor == 0 for edge in size)
    if len(size) != 2 or not whole:
        section.fail('size', f'expected [width, height] in multiples of {factor}, got {size!r}')
    section.end()
    return ImageCard(Size(*size), interpolation=interpolation)


def _tasks(section: Section, image: ImageCard, factor: int) -> dict[Task, TaskCard]:
    """Read the prompts; 'objects' serves the object tasks that have none of their own."""
    tasks: dict[Task, TaskCard] = {}
    if section.has('objects'):
        tasks = dict.fromkeys(OBJECT_TASKS, _task(section.section('objects'), image, factor))
    for key, task in TASK_KEYS.items():
        if section.has(key):
            tasks[task] = _task(section.section(key), image, factor)
    section.end()
    if not tasks:
        section.fail('', 'no prompt at all; give at least "objects"')
    return tasks


def _task(section: Section, image: ImageCard, factor: int) -> TaskCard:
    user = section.take('user', str)
    example = section.take('example', str, '')
    if '{Question}' not in user:
        section.fail('user', 'has no {Question}')
    if ('{Answer}' in user) != bool(example):
        section.fail('example', 'is what {Answer} in user stands for: give both or none')
    card = TaskCard(
        PromptTemplate(system=section.take('system', str, ''), user=user, example=example),
        section.choice('question', QUESTION_STYLES),
        _image(section.section('image'), factor) if section.has('image') else image,
    )
    section.end()
    return card
