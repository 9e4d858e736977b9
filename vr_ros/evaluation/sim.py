"""The held-out examination of a model on the simulator: scenes and wordings that training never
sees."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vr_ros.core.types import Perception, PerceptionError, Status, Task
from vr_ros.evaluation.metrics.answers import exact_match
from vr_ros.evaluation.metrics.detection import count_hits
from vr_ros.evaluation.metrics.overlap import compare_regions
from vr_ros.evaluation.samples import box_array
from vr_ros.evaluation.sim_scores import Score
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.sim.instructions import HELDOUT_SEED, SimInstruction, generate_many
from vr_ros.sim.renderer import TableCamera
from vr_ros.sim.scene import sample_scene
from vr_ros.sim.truth import FrameTruth


@dataclass(frozen=True)
class Examination:
    """Which scenes and instructions; the same numbers give the same questions on every machine.

    :param first_seed: of the first scene; the held-out ones begin at 1,000,000.
    :param per_scene: instructions per scene.
    """

    scenes: int = 500
    per_scene: int = 3
    first_seed: int = HELDOUT_SEED
    model: str = 'sim_tiny'
    device: str = 'auto'
    split: str = 'heldout'


@dataclass(frozen=True)
class Record:
    """One question, its answer and its score, in plain values for JSON."""

    seed: int
    text: str
    task: str
    template: str
    status: str
    status_message: str
    expected: str
    answered: str
    raw_text: str
    seconds: float
    score: Score


def score(instruction: SimInstruction, truth: FrameTruth, perception: Perception) -> Score:
    """Compare one perception with the truth of its frame."""
    wanted = [o for o in truth.objects if o.id in instruction.target_ids]
    masks = [d.mask for d in perception.detections if d.mask is not None]
    if instruction.task is Task.VQA:
        exact = bool(exact_match(instruction.answer, perception.answer))
        return Score(Task.VQA, perception.status, instruction.template, 0, 0, 0, None, exact)
    true_boxes = np.array([o.box for o in wanted], float).reshape(-1, 4)
    return Score(
        instruction.task,
        perception.status,
        instruction.template,
        len(wanted),
        len(perception.detections),
        count_hits(true_boxes, box_array(perception.detections)),
        compare_regions([o.mask for o in wanted], masks).iou,
        perception.count == len(wanted),
    )


def examine_scene(perceiver: Perceiver, examination: Examination, seed: int) -> Iterator[Record]:
    """Put a scene's questions to a perceiver; an error is a wrong answer, not an end."""
    with TableCamera(sample_scene(seed)) as camera:
        frame = camera.render()
    rng = np.random.default_rng([seed, 4711])
    for instruction in generate_many(frame.truth, rng, examination.per_scene, examination.split):
        started = time.perf_counter()
        try:
            perception = perceiver.perceive(frame.rgb, instruction.text)
        except PerceptionError as error:
            perception = Perception(error.status, status_message=error.message)
        yield Record(
            seed,
            instruction.text,
            instruction.task.name,
            instruction.template,
            Status(perception.status).name,
            perception.status_message,
            instruction.answer or str(len(instruction.target_ids)),
            perception.answer or str(perception.count),
            perception.raw_text,
            time.perf_counter() - started,
            score(instruction, frame.truth, perception),
        )


_perceiver: Perceiver | None = None


def _load(examination: Examination, threads: int) -> None:
    global _perceiver
    import torch

    torch.set_num_threads(threads)
    _perceiver = Perceiver.from_card(examination.model, examination.device)


def _examine(job: tuple[Examination, int]) -> list[Record]:
    assert _perceiver is not None
    return list(examine_scene(_perceiver, *job))


def examine(examination: Examination, processes: int = 2) -> Iterator[Record]:
    """Examine a model.

    :param processes: each loads the model and computes with one thread.
    :return: records in the order of their scenes.
    """
    jobs = [(examination, examination.first_seed + i) for i in range(examination.scenes)]
    if processes <= 1:
        _load(examination, threads=1)
        for job in jobs:
            yield from _examine(job)
        return
    context = multiprocessing.get_context('spawn')
    with context.Pool(processes, _load, (examination, 1)) as pool:
        for records in pool.imap(_examine, jobs):
            yield from records
