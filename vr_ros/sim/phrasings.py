"""Put queries into words, and words back into queries.

The inverse works by skeleton: every noun, relation and function in a text is replaced by a symbol,
and what is left is looked up among the skeletons of all wordings. A text that no wording can
produce is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from vr_ros.sim.dice import Dice
from vr_ros.sim.queries import Form, Query
from vr_ros.sim.templates import SPLITS, TEMPLATES, Template
from vr_ros.sim.truth import COLOURS, KINDS, SIZES
from vr_ros.sim.vocabulary import (
    ALL_NOUNS,
    ANY,
    ANYTHING,
    COMPARISONS,
    EXTREMES,
    FUNCTIONS,
    NEXT_TO,
    RELATIONS,
    SIDES,
    Noun,
    plural_verb,
    with_article,
)

_SLOT = re.compile(r'\{(\w+)\}')
_QUESTION_WORDS = ('what', 'which', 'where', 'how', 'is', 'are', 'do', 'does', 'can')


@lru_cache(maxsize=4096)
def _nouns(noun: Noun) -> tuple[str, ...]:
    return (noun.singular(),) if noun.kind else tuple(noun.singular(word) for word in ANYTHING)


def _extreme_nouns(query: Query) -> tuple[str, ...]:
    before, after = EXTREMES[query.relation]
    return tuple(
        [f'{word} {noun}' for word in before for noun in _nouns(query.noun)]
        + [f'{noun} {phrase}' for phrase in after for noun in _nouns(query.noun)]
    )


# Slot name -> all the ways a query can fill it.
_FILLERS: dict[str, Callable[[Query], tuple[str, ...]]] = {
    's': lambda query: _nouns(query.noun),
    'p': lambda query: tuple([f'{noun}s' for noun in _nouns(query.noun)]),
    'a': lambda query: tuple([with_article(noun) for noun in _nouns(query.noun)]),
    'every': lambda query: (
        ('everything', 'every object')
        if query.noun == ANY
        else tuple([f'every {noun}' for noun in _nouns(query.noun)])
    ),
    'o': lambda query: _nouns(query.anchor),
    'r': lambda query: SIDES[query.relation],
    'rn': lambda query: RELATIONS[query.relation],
    'x': _extreme_nouns,
    'c': lambda query: COMPARISONS[query.relation],
    'q': lambda query: tuple([question for question, _ in FUNCTIONS[query.function].phrases]),
    'qp': lambda query: tuple(
        [plural_verb(question) for question, _ in FUNCTIONS[query.function].phrases]
    ),
    'g': lambda query: tuple([clause for _, clause in FUNCTIONS[query.function].phrases]),
    'h': lambda query: tuple(
        [plural_verb(clause) for _, clause in FUNCTIONS[query.function].phrases]
    ),
}


@dataclass(frozen=True)
class _Wording:
    """A pattern cut at its slots: literal, slot, literal, slot, …, literal."""

    literals: tuple[str, ...]
    slots: tuple[str, ...]
    is_question: bool

    @staticmethod
    def of(pattern: str) -> _Wording:
        pieces = _SLOT.split(pattern)
        clauses = re.split('[,:] ', pattern)
        is_question = any(clause.split()[0] in _QUESTION_WORDS for clause in clauses)
        return _Wording(tuple(pieces[::2]), tuple(pieces[1::2]), is_question)


_WORDINGS = {
    (template.name, split): tuple(
        tuple(_Wording.of(pattern) for pattern in group) for group in template.wordings[split]
    )
    for template in TEMPLATES.values()
    for split in SPLITS
}
_TEMPLATE_OF = {(template.form, template.task): template for template in TEMPLATES.values()}


def template_of(query: Query) -> Template:
    """Find the template that words a query.

    :raises KeyError: if the query's form does not exist for its task.
    """
    return _TEMPLATE_OF[query.form, query.task]


def verbalise(query: Query, dice: Dice, split: str) -> str:
    """Put a query into words, drawn at random.

    :param split: 'train' or 'heldout'.
    """
    return _word(query, dice.choose(dice.choose(_WORDINGS[template_of(query).name, split])), dice)


def samples(split: str, repeats: int, dice: Dice) -> Iterator[str]:
    """Show every wording of a split with queries drawn at random.

    :param repeats: texts per wording.
    """
    for template in TEMPLATES.values():
        for wording in (w for group in _WORDINGS[template.name, split] for w in group):
            for _ in range(repeats):
                yield _word(random_query(template, dice), wording, dice)


def random_query(template: Template, dice: Dice) -> Query:
    """Draw any query of a template, whatever it may mean in a frame."""
    names = {
        Form.RELATION: RELATIONS,
        Form.RELATION_ALL: SIDES,
        Form.RELATED: SIDES,
        Form.COMPARE: COMPARISONS,
        Form.EXTREME: EXTREMES,
    }.get(template.form)
    fields: dict[str, Noun | str] = {}
    if names:
        fields['relation'] = dice.choose(tuple(names))
    if template.form not in (Form.FUNCTION, Form.CAPTION):
        fields['noun'] = dice.choose(ALL_NOUNS)
    if template.form in (Form.RELATION, Form.RELATION_ALL, Form.RELATED, Form.COMPARE):
        fields['anchor'] = dice.choose(ALL_NOUNS)
    if template.form is Form.FUNCTION:
        fields['function'] = dice.choose(tuple(FUNCTIONS))
    return Query(template.form, template.task, **fields)


def _word(query: Query, wording: _Wording, dice: Dice) -> str:
    text = wording.literals[0]
    for slot, literal in zip(wording.slots, wording.literals[1:], strict=True):
        text += dice.choose(_FILLERS[slot](query)) + literal
    return _as_typed(text, wording.is_question, dice)


def _as_typed(text: str, is_question: bool, dice: Dice) -> str:
    """Vary capitals and the final mark as people do."""
    if dice.chance(0.5):
        text = text[0].upper() + text[1:]
    if is_question:
        return text + '?' if dice.chance(0.7) else text
    return text + '.' if dice.chance(0.3) else text


def all_phrasings(query: Query, split: str) -> Iterator[str]:
    """Enumerate every way to word a query, in lower case and without a final mark."""
    for group in _WORDINGS[template_of(query).name, split]:
        for wording in group:
            for fillers in product(*(_FILLERS[slot](query) for slot in wording.slots)):
                yield wording.literals[0] + ''.join(
                    filler + literal
                    for filler, literal in zip(fillers, wording.literals[1:], strict=True)
                )


def understand(text: str) -> Query | None:
    """Recover the query from any text that the wordings of either split can produce.

    Case, spaces and punctuation do not matter. None when no wording produces the text.
    """
    parsed = parse(text)
    return parsed[0] if parsed else None


def parse(text: str) -> tuple[Query, str] | None:
    """Like :func:`understand`, with the split whose wording it is."""
    captured: list[Noun | str] = []
    skeleton = _SCANNER.sub(lambda match: _symbol(match, captured), _normalise(text))
    entry = _SKELETONS.get(skeleton)
    if entry is None:
        return None
    template, split, roles = entry
    fields = {role: value for role, value in zip(roles, captured, strict=True) if role}
    return Query(template.form, template.task, **fields), split


def _normalise(text: str) -> str:
    text = re.sub(r'[^\w\s]', ' ', text.lower()).replace('color', 'colour')
    return re.sub(r'\b(an?)\b', 'a', ' '.join(text.split()))


def _meanings() -> dict[str, tuple[str, str]]:
    """Map each phrase to its symbol and meaning."""
    table: dict[str, tuple[str, str]] = {}
    for symbol, names in (('<r>', SIDES), ('<n>', NEXT_TO), ('<c>', COMPARISONS)):
        for name, phrases in names.items():
            table.update({phrase: (symbol, name) for phrase in phrases})
    for name, (before, after) in EXTREMES.items():
        table.update({word: ('<e>', name) for word in before})
        table.update({phrase: ('<t>', name) for phrase in after})
    for name, function in FUNCTIONS.items():
        for question, clause in function.phrases:
            table.update(
                {
                    _normalise(phrase): ('<f>', name)
                    for phrase in (question, clause, plural_verb(question), plural_verb(clause))
                }
            )
    return table


_MEANINGS = _meanings()


def _scanner() -> re.Pattern[str]:
    noun = (
        rf'(?:(?P<size>{"|".join(SIZES)}) )?(?:(?P<colour>{"|".join(COLOURS)}) )?'
        rf'(?P<kind>{"|".join(KINDS + ANYTHING)})(?P<plural>s?)'
    )
    phrases = '|'.join(sorted(map(re.escape, _MEANINGS), key=len, reverse=True))
    return re.compile(rf'\b(?:(?P<phrase>{phrases})|{noun})\b')


_SCANNER = _scanner()


def _symbol(match: re.Match[str], captured: list[Noun | str]) -> str:
    phrase = match['phrase']
    if phrase:
        symbol, meaning = _MEANINGS[phrase]
        captured.append(meaning)
        return symbol
    kind = '' if match['kind'] in ANYTHING else match['kind']
    noun = Noun(match['size'] or '', match['colour'] or '', kind)
    captured.append(noun)
    # A bare 'object' may be part of the wording itself, so it stays visible in the skeleton.
    bare = match[0] if noun == Noun() else ''
    return bare or ('<p>' if match['plural'] else '<s>')


# Slot name -> the symbols it can leave behind, each with the query's fields that they fill.
_SINGULAR, _PLURAL = ('<s>', *ANYTHING), ('<p>', *(f'{word}s' for word in ANYTHING))
_SLOT_SYMBOLS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    's': tuple((symbol, ('noun',)) for symbol in _SINGULAR),
    'p': tuple((symbol, ('noun',)) for symbol in _PLURAL),
    'a': tuple((f'a {symbol}', ('noun',)) for symbol in _SINGULAR),
    'every': (*((f'every {symbol}', ('noun',)) for symbol in _SINGULAR), ('everything', ())),
    'o': tuple((symbol, ('anchor',)) for symbol in _SINGULAR),
    'r': (('<r>', ('relation',)),),
    'rn': (('<r>', ('relation',)), ('<n>', ('relation',))),
    'x': (
        *((f'<e> {symbol}', ('relation', 'noun')) for symbol in _SINGULAR),
        *((f'{symbol} <t>', ('noun', 'relation')) for symbol in _SINGULAR),
    ),
    'c': (('<c>', ('relation',)),),
    **{slot: (('<f>', ('function',)),) for slot in ('q', 'qp', 'g', 'h')},
}
_Entry = tuple[Template, str, tuple[str, ...]]


def _skeletons() -> dict[str, _Entry]:
    table: dict[str, _Entry] = {}
    for template in TEMPLATES.values():
        for split in SPLITS:
            for wording in (w for group in _WORDINGS[template.name, split] for w in group):
                for skeleton, roles in _skeletons_of(wording):
                    entry = (template, split, roles)
                    if table.setdefault(skeleton, entry) != entry:
                        raise ValueError(
                            f'{skeleton!r} is worded by {template.name} ({split}) and by '
                            f'{table[skeleton][0].name} ({table[skeleton][1]})'
                        )
    return table


def _skeletons_of(wording: _Wording) -> Iterator[tuple[str, tuple[str, ...]]]:
    for symbols in product(*(_SLOT_SYMBOLS[slot] for slot in wording.slots)):
        text, roles = '', []
        for literal, (symbol, fields) in zip(wording.literals, (*symbols, ('', ())), strict=True):
            # Phrases in the wording itself fill no field.
            roles += [''] * len(_SCANNER.findall(literal)) + list(fields)
            text += literal + symbol
        yield ' '.join(re.sub(r'[^\w\s<>]', ' ', text).split()), tuple(roles)


_SKELETONS = _skeletons()
