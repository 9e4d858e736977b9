"""The verifier ``mixture``: a weighted mean of parts, which makes the stages of a curriculum data.

Source: PeBR-R1, rewards of stage 1 (0.4 similarity of image and description, 0.4 keywords, 0.1
format, 0.1 length) and of stage 2 (0.9 accuracy, 0.1 format).
"""
from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

from vr_ros.training.rewards.matching import Targets
from vr_ros.training.rewards.samples import (
    ParameterError,
    Sample,
    SampleError,
    is_weight,
    suggestion,
)
from vr_ros.training.rewards.text_checks import has_sections, section_text, tag_share
from vr_ros.training.rewards.unified import FULL_ACCURACY, read_targets, score_objects
from vr_ros.training.rewards.verifier import (
    Judge,
    Judgement,
    Rollout,
    Verifier,
    VerifierError,
    parameters_of,
)
from vr_ros.training.rewards.written_objects import TruthError, read_objects

DESCRIPTION = 'Image Description'
# A cosine of so much is full marks.
FULL_SIMILARITY = 0.4
PARTS = ('similarity', 'keywords', 'length', 'objects', 'answer')
PARAMETERS = {
    'parts': {}, 'sections': [], 'keywords': [], 'most_tokens': 512.0, 'objects': None,
    'answer': {},
}
# sample, description -> cosine of image and text.
Similarity = Callable[[Sample, str], float]


def mixture_verifier(find: Callable[[str], Verifier], similarity: Similarity | None = None
                     ) -> Verifier:
    """Make the verifier; its parameters say what goes into a sample's reward.

    - ``parts``: weights by name: ``similarity`` of the image and the section "Image Description",
      a cosine of 0.4 and more being 1; ``keywords``, the share of the sample's ``keywords`` that
      the response contains, case aside; ``length``, 1 up to ``most_tokens`` and most_tokens /
      tokens beyond; ``objects``, the unified accuracy of boxes and points against the sample's
      ``objects``, without them against its ground truth; ``answer``, the accuracy by another
      verifier.
    - ``sections``: titles of which the response needs all for a format of 1; without it, the format
      is a quarter for each of the four tags.
    - ``answer``: {"verifier": name, "parameters": {...}} for the part ``answer``, which is held
      against the sample's ground truth.

    The answer is correct where that verifier says so, else where the objects are.

    :param find: gives a verifier by its name, raises SampleError where there is none.
    :param similarity: cosine of a sample's image and a text, from a model that the trainer brings.
    """
    def prepare(sample: Sample) -> Judge:
        values = parameters_of(sample, PARAMETERS)
        weights = _weights(sample, values['parts'])
        if values['most_tokens'] <= 0:
            raise ParameterError(f'{sample.title}: most_tokens is not above 0')
        if not all(isinstance(title, str) for title in values['sections']):
            raise ParameterError(f'{sample.title}: sections are titles, not {values["sections"]!r}')
        judge_answer = (
            _answer_judge(sample, values['answer'], find) if 'answer' in weights else None)
        if 'similarity' in weights and similarity is None:
            raise SampleError(f'{sample.title}: no model was given that compares image and text')
        keywords = [str(word).lower() for word in values['keywords']]
        if 'keywords' in weights and not keywords:
            raise SampleError(f'{sample.title}: it has no keywords')
        targets = _targets(sample, values['objects']) if 'objects' in weights else None

        def judge(rollout: Rollout) -> Judgement:
            parts: dict[str, float] = {}
            is_correct = False
            if 'similarity' in weights:
                parts['similarity'] = _similarity(similarity, rollout)
            if 'keywords' in weights:
                said = rollout.response.lower()
                parts['keywords'] = sum(word in said for word in keywords) / len(keywords)
            if 'length' in weights:
                parts['length'] = _length(rollout, values['most_tokens'])
            if targets is not None:
                score = score_objects(read_objects(rollout.response), targets)
                parts['objects'], is_correct = score.accuracy / FULL_ACCURACY, score.is_right
            if judge_answer is not None:
                judgement = judge_answer(rollout)
                parts['answer'], is_correct = judgement.accuracy, judgement.is_correct
            accuracy = sum(weights[name] * parts[name] for name in weights) / sum(weights.values())
            sections = values['sections']
            form = (float(has_sections(rollout.response, sections)) if sections
                    else tag_share(rollout.response))
            return Judgement(accuracy, form, is_correct, parts)

        return judge

    return Verifier('mixture', prepare, PARTS)


def _weights(sample: Sample, parts: Mapping[str, float]) -> dict[str, float]:
    for name, weight in parts.items():
        if name not in PARTS:
            raise ParameterError(
                f'{sample.title}: parts has no "{name}"; {suggestion(name, PARTS)}')
        if not is_weight(weight):
            raise ParameterError(f'{sample.title}: part {name} has the weight {weight!r}')
    weights = {name: float(parts[name]) for name in PARTS if parts.get(name)}
    if not weights:
        # Without any, those of the row are still to come where this is a stage's.
        kind = ParameterError if parts else SampleError
        raise kind(f'{sample.title}: no part has a weight')
    return weights


def _targets(sample: Sample, objects: list | None) -> Targets:
    try:
        return read_targets(sample.ground_truth if objects is None else json.dumps(objects))
    except TruthError as error:
        raise SampleError(f'{sample.title}: objects: {error}') from error


def _answer_judge(sample: Sample, answer: Mapping, find: Callable[[str], Verifier]) -> Judge:
    name, parameters = answer.get('verifier', ''), answer.get('parameters', {})
    if name == 'mixture':
        raise ParameterError(f'{sample.title}: a mixture within a mixture')
    if not isinstance(name, str) or not isinstance(parameters, Mapping):
        raise ParameterError(f'{sample.title}: answer names a verifier and gives it an object of'
                             f' parameters, not {dict(answer)!r}')
    try:
        verifier = find(name)
    except SampleError as error:
        raise (ParameterError if name else SampleError)(f'{sample.title}: {error}') from error
    return verifier.prepare(Sample(
        verifier=name, ground_truth=sample.ground_truth, data_source=sample.data_source,
        id=sample.id, parameters=parameters, image_size=sample.image_size, image=sample.image))


def _similarity(similarity: Similarity | None, rollout: Rollout) -> float:
    text = section_text(rollout.response, DESCRIPTION)
    if not text:
        return 0.0
    try:
        cosine = float(similarity(rollout.sample, text))
    except Exception as error:
        raise VerifierError(f'{rollout.sample.title}: the comparison of image and text failed: '
                            f'{error!r}') from error
    if not math.isfinite(cosine):
        raise VerifierError(f'{rollout.sample.title}: image and text have the likeness {cosine}')
    return min(1.0, max(0.0, cosine / FULL_SIMILARITY))


def _length(rollout: Rollout, most_tokens: float) -> float:
    if rollout.tokens is None:
        raise VerifierError(f'{rollout.sample.title}: its length is rewarded, but not given')
    return min(1.0, most_tokens / max(rollout.tokens, 1))
