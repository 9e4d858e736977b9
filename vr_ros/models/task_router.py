"""What picks the task of an instruction that names none, as a model card says."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from vr_ros.core.router import decide, route
from vr_ros.core.types import PerceptionError, Status, Task
from vr_ros.core.word_router import CLASS_TASKS, CLASSES, FEATURES_VERSION, WordRouter
from vr_ros.models.card_types import RouterCard
from vr_ros.models.weights import resolve_weights

# Instruction in, what the model takes it for and how probable that is out; NaN: it did not say.
AskModel = Callable[[str], tuple[Task, float]]

MODEL_TYPE = 'word_router'
_FILE = 'model.safetensors'
_TENSORS = {'words': np.uint32, 'features': np.uint32, 'weights': np.int8,
            'scales': np.float32, 'bias': np.float32}


class TaskRouter:
    """Picks tasks; answers are remembered, for a continuous instruction is asked again and again.

    :param ask: the model; None: the rules decide alone.
    """

    def __init__(self, card: RouterCard | None = None, ask: AskModel | None = None) -> None:
        self._card, self._ask = card or RouterCard(), ask
        self._last: tuple[str, Task] | None = None

    def task_of(self, text: str) -> Task:
        """Choose the task of a validated instruction; never AUTO."""
        if self._last is None or self._last[0] != text:
            self._last = (text, self._choose(text))
        return self._last[1]

    def _choose(self, text: str) -> Task:
        rules = route(text)
        task, probability = (Task.AUTO, float('nan')) if self._ask is None else self._ask(text)
        return decide(task, probability, rules, min_probability=self._card.min_probability,
                      default=self._card.default)


def load_task_router(card: RouterCard, device: str) -> TaskRouter:
    """Load what a card names.

    :param device: as torch names it; a table of words needs none.
    :raises PerceptionError: MODEL_UNAVAILABLE with what is missing or wrong.
    """
    if card.weights is None:
        return TaskRouter(card)
    directory = resolve_weights(card.weights)
    if card.kind == 'words':
        return TaskRouter(card, ask_words(load_word_router(directory)))
    # Here, so that the table of words needs no torch.
    from vr_ros.models.language_router import LanguageRouter

    return TaskRouter(card, LanguageRouter(card, directory, device).ask)


def ask_words(router: WordRouter) -> AskModel:
    """Ask a table of words: the classes that are one task here add up."""

    def ask(text: str) -> tuple[Task, float]:
        sums: dict[Task, float] = {}
        for task, probability in zip(CLASS_TASKS, router.probabilities(text), strict=True):
            sums[task] = sums.get(task, 0.0) + float(probability)
        task = max(sums, key=lambda task: sums[task])
        return task, sums[task]

    return ask


def load_word_router(directory: Path) -> WordRouter:
    """Read a table of words.

    :raises PerceptionError: MODEL_UNAVAILABLE, it is none, damaged, or of another version.
    """
    try:
        config = json.loads((directory / 'config.json').read_text(encoding='utf-8'))
        known = {'model_type': MODEL_TYPE, 'classes': list(CLASSES), 'features': FEATURES_VERSION}
        for key, value in known.items():
            if config.get(key) != value:
                raise ValueError(f'config.json: {key} is {config.get(key)!r}, expected {value!r}')
        tensors = load_file(directory / _FILE)
        _check_tensors(tensors)
    except (OSError, ValueError, AttributeError, SafetensorError) as error:
        raise PerceptionError(
            Status.MODEL_UNAVAILABLE, f'{directory} cannot be loaded as a router: {error}'
        ) from error
    return WordRouter(**tensors)


def _check_tensors(tensors: dict[str, np.ndarray]) -> None:
    """:raises ValueError: they do not make a table."""
    if {name: tensor.dtype for name, tensor in tensors.items()} != _TENSORS:
        raise ValueError(f'{_FILE}: expected {", ".join(_TENSORS)} of other types')
    rows, classes = len(tensors['features']), len(CLASSES)
    shapes = {'weights': (rows, classes), 'scales': (classes,), 'bias': (classes,)}
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise ValueError(f'{_FILE}: {name} is {tensors[name].shape}, expected {shape}')
    for name in ('words', 'features'):
        if tensors[name].ndim != 1 or (np.diff(tensors[name].astype(np.int64)) <= 0).any():
            raise ValueError(f'{_FILE}: {name} do not ascend')
    if rows == 0 or not np.isfinite([tensors['scales'], tensors['bias']]).all():
        raise ValueError(f'{_FILE}: no features, or numbers that are not finite')


def save_word_router(router: WordRouter, directory: Path) -> None:
    """Write a table as load_word_router reads it."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.ascontiguousarray(getattr(router, name)) for name in _TENSORS}
    (directory / _FILE).write_bytes(save(tensors))  # its own save_file lets only the owner read
    config = {'model_type': MODEL_TYPE, 'classes': CLASSES, 'features': FEATURES_VERSION}
    (directory / 'config.json').write_text(json.dumps(config, indent=1) + '\n', encoding='utf-8')
