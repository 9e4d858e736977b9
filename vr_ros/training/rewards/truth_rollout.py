"""The ground truth written as a response, to be one of the rollouts of its prompt.

Source: ViSurf (arXiv 2510.10606).
"""
from __future__ import annotations

import json

from vr_ros.training.rewards.samples import Sample


def truth_response(sample: Sample, reasoning: str | None = None) -> str:
    """Write a sample's truth as the model writes its answers.

    Objects become JSON with a blank behind comma and colon, as models write it: an unusual spelling
    would make the truth unlikely, and its gradient large, for no reason.

    :param reasoning: text for the think tags; None leaves them out, so that the truth earns no
        reward for thinking.
    """
    text = sample.ground_truth
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if isinstance(items, list):
        # Of several accepted answers in words, the first.
        is_text = bool(items) and isinstance(items[0], str)
        text = items[0] if is_text else json.dumps(items, ensure_ascii=False)
    thought = '' if reasoning is None else f'<think>{reasoning}</think>\n'
    return f'{thought}<answer>{text}</answer>'
