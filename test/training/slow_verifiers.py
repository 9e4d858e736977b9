"""Verifiers that misbehave, for tests of processes; these find them by this module's name."""
from __future__ import annotations

import multiprocessing
import os
import time

from vr_ros.training.rewards.registry import Registry, default_registry
from vr_ros.training.rewards.samples import Sample
from vr_ros.training.rewards.verifier import Judge, Judgement, Rollout, Verifier


def _sleepy(sample: Sample) -> Judge:
    def judge(rollout: Rollout) -> Judgement:
        time.sleep(60)
        return Judgement(1.0, 1.0, True)

    return judge


def _deadly(sample: Sample) -> Judge:
    def judge(rollout: Rollout) -> Judgement:
        os._exit(1)

    return judge


def make_registry_here_only() -> Registry:
    """Give all verifiers, but fail in every process of a pool."""
    if multiprocessing.parent_process() is not None:
        raise OSError('no weights here')
    return default_registry()


def make_registry_and_end() -> Registry:
    """Give all verifiers, but end every process of a pool."""
    if multiprocessing.parent_process() is not None:
        os._exit(3)
    return default_registry()


def make_registry() -> Registry:
    """Give all verifiers, ``sleepy``, which never ends, and ``deadly``, which ends its process."""
    return default_registry().with_verifiers(
        Verifier('sleepy', _sleepy), Verifier('deadly', _deadly))
