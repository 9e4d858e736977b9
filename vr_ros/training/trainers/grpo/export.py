"""From a trained policy to a model card: weights as any checkpoint of the family has them."""
from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import PeftModel
from transformers import PreTrainedModel

from vr_ros.models.card import load_card
from vr_ros.training.trainers.grpo.processor import CardProcessor

REASONER = 'reasoner'
_HEADER = """# Made by ./run train grpo out of {source}; {source_file} explains the keys.
"""
_STALE = """# Its scores were fitted on the start model; anew: ./run train scores --model THIS_FILE
"""


def export(
    model: PreTrainedModel | PeftModel, processor: CardProcessor, source: Path, folder: Path,
    name: str, dtype: torch.dtype | None = None,
) -> Path:
    """Write merged weights, the tokenizer and a card that Perceiver and the node load.

    The weights are written beside the folder first: what is there is whole.

    :param source: file of the card that the training started from.
    :param dtype: of the written weights; None: as they are.
    :return: the card's file.
    """
    merged = model.merge_and_unload() if isinstance(model, PeftModel) else model
    folder.mkdir(parents=True, exist_ok=True)
    temporary, weights = folder / f'{REASONER}.tmp', folder / REASONER
    for leftover in (temporary, weights):
        shutil.rmtree(leftover, ignore_errors=True)
    (merged if dtype is None else merged.to(dtype)).save_pretrained(temporary)
    processor.save_pretrained(temporary)
    os.replace(temporary, weights)
    card = folder / f'{name}.yaml'
    card.write_text(card_text(source, folder, name), encoding='utf-8')
    load_card(card)   # a card that cannot be read is noticed here, and not on the robot
    return card


def card_text(source: Path, folder: Path, name: str) -> str:
    """Write the start model's card with the new weights; files that stay are named from the
    folder."""
    values: dict[str, Any] = yaml.safe_load(source.read_text(encoding='utf-8'))
    values['name'] = name
    values['description'] = f'{values["description"]}; trained further with GRPO'
    values['reasoner'] = {**values['reasoner'], 'weights': {'path': REASONER}}
    for name_of in ('segmenter', 'router'):
        section = values.get(name_of)
        if isinstance(section, dict) and 'weights' in section:
            section['weights'] = _from_folder(section['weights'], source, folder)
            if str(section.get('config', '')).startswith(('./', '../')):
                section['config'] = _relative(source.parent / section['config'], folder)
    header = _HEADER.format(source=source.stem, source_file='visionreasoner_7b.yaml')
    if values.get('confidence', {}).get('fusion'):
        header += _STALE
    return header + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def _from_folder(weights: dict[str, Any], source: Path, folder: Path) -> dict[str, Any]:
    path = weights.get('path')
    if path is None or Path(path).expanduser().is_absolute():
        return weights
    return {**weights, 'path': _relative(source.parent / path, folder)}


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
