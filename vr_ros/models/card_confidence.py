"""Read the part of a model card that says where scores come from."""
from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from vr_ros.core.confidence import COSTLY, FEATURES, Fusion, Term
from vr_ros.core.types import PerceptionError, ScoreSource, Status
from vr_ros.models.card_types import ConfidenceCard, ExistenceCard, ModelCard
from vr_ros.models.schema import Section, suggestion

SOURCES = tuple(source.name.lower() for source in ScoreSource)
PLACEHOLDERS = ('question', 'label', 'box', 'row', 'column', 'aim')
_PLACEHOLDER = re.compile(r'\{(\w+)\}')


def read_confidence(section: Section) -> ConfidenceCard:
    """Read the section confidence.

    :raises PerceptionError: MODEL_UNAVAILABLE with what is wrong, among that a source for which the
        card lacks what it takes.
    """
    card = ConfidenceCard(
        source=ScoreSource[section.choice('source', SOURCES, 'none').upper()],
        threshold=section.number('threshold', 0.0, low=0.0, high=1.0),
        samples=section.positive('samples') if section.has('samples') else 0,
        temperature=section.number('temperature', 1.0, low=0.01, high=10.0),
        add_from=(section.number('add_from', low=0.0, high=1.0) if section.has('add_from')
                  else None),
        ends=section.texts('ends'),
        aim=_expression(section, 'aim'),
        opposites=_opposites(section),
        existence=_existence(section.section('existence')) if section.has('existence') else None,
        fusion=_fusion(section.section('fusion')) if section.has('fusion') else None,
    )
    section.end()
    asked = card.existence.user + card.existence.assistant if card.existence else ''
    if '{aim}' in asked and not card.aim:
        section.fail('aim', 'is what {aim} stands for: give it')
    missing = missing_for(card)
    if missing:
        section.fail('source', f'"{card.source.name.lower()}" needs {missing}')
    return card


def with_source(card: ModelCard, source: str) -> ModelCard:
    """Have a card's scores come from elsewhere.

    :param source: one of SOURCES.
    :raises PerceptionError: MODEL_UNAVAILABLE, there is no such source, or the card lacks what it
        takes.
    """
    if source not in SOURCES:
        problem = f'unknown; known: {", ".join(SOURCES)}{suggestion(source, list(SOURCES))}'
    else:
        changed = dataclasses.replace(card.confidence, source=ScoreSource[source.upper()])
        missing = missing_for(changed)
        if not missing:
            return dataclasses.replace(card, confidence=changed)
        problem = f'the section confidence of model card "{card.name}" needs {missing}'
    raise PerceptionError(Status.MODEL_UNAVAILABLE, f'score source "{source}": {problem}')


def missing_for(card: ConfidenceCard) -> str:
    """Say what a card lacks for its source; '' when nothing."""
    if card.source is ScoreSource.FUSED and card.fusion is None:
        return '"fusion", which ./run train scores makes'
    needed = needed_features(card)
    if 'existence' in needed and card.existence is None:
        return '"existence"'
    if ('consistency' in needed or card.add_from is not None) and not card.samples:
        return '"samples"'
    return ''


def needed_features(card: ConfidenceCard) -> frozenset[str]:
    """:return: the costly features that a card's source is made of."""
    if card.source is ScoreSource.FUSED and card.fusion is not None:
        return frozenset(COSTLY) & frozenset(card.fusion.terms)
    return frozenset(COSTLY) & {card.source.name.lower()}


def _existence(section: Section) -> ExistenceCard:
    card = ExistenceCard(
        # Plain yes and no would be true and false to YAML.
        yes=_words(section, 'for_yes'), no=_words(section, 'for_no'),
        user=_template(section, 'user'), assistant=_template(section, 'assistant'),
        max_tokens=section.positive('max_tokens', 1),
    )
    section.end()
    if not card.user and not card.assistant:
        section.fail('', 'give "user", "assistant" or both')
    return card


def _expression(section: Section, name: str) -> str:
    """Take a regular expression with a group."""
    text = section.take(name, str, '')
    try:
        has_group = not text or re.compile(text).groups
    except (re.error, OverflowError, RecursionError) as error:
        section.fail(name, f'is no regular expression: {error}')
    if not has_group:
        section.fail(name, 'has no group in parentheses')
    return text


def _opposites(section: Section) -> tuple[tuple[str, ...], ...]:
    groups = section.take('opposites', list, [])
    if not all(isinstance(group, list) and all(isinstance(word, str) for word in group)
               for group in groups):
        section.fail('opposites', f'expected a list of lists of words, got {groups!r}')
    return tuple(tuple(word.lower() for word in group) for group in groups)


def _words(section: Section, name: str) -> tuple[str, ...]:
    words = section.texts(name)
    if not words:
        section.fail(name, 'missing, expected a list of texts')
    return words


def _template(section: Section, name: str) -> str:
    text = section.take(name, str, '')
    for word in _PLACEHOLDER.findall(text):
        if word not in PLACEHOLDERS:
            known = ', '.join(PLACEHOLDERS)
            meant = suggestion(word, list(PLACEHOLDERS))
            section.fail(name, f'unknown "{{{word}}}"; known: {known}{meant}')
    return text


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """Put values in the place of a template's placeholders; braces in them are ordinary text."""
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def _fusion(section: Section) -> Fusion:
    bias, inner = section.number('bias'), section.section('features')
    terms = {}
    for name in inner.names():
        if name not in FEATURES:
            meant = suggestion(str(name), list(FEATURES))
            inner.fail(str(name), f'no such feature; known: {", ".join(FEATURES)}{meant}')
        part = inner.section(name)
        terms[name] = Term(part.number('weight'), part.number('mean'))
        part.end()
    section.end()
    return Fusion(bias, terms)
