"""Rows of words alone for the embedded reasoner: what follows from what it has written already.

Whether a listed object is what is asked for, which places match, which numbers are copied and what
a list answers needs no image. Such rows are short, see no vision tower, and their objects can be
given any colour, kind and size. What only an image tells (names, places, numbers) is not to be
learnt from them and carries no loss.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from vr_ros.core.types import Task
from vr_ros.sim.instructions import SimInstruction, generate
from vr_ros.sim.queries import Form
from vr_ros.sim.truth import COLOURS, KINDS, SIZES, FrameTruth
from vr_ros.sim.vocabulary import Noun
from vr_ros.training.sim_targets import LIST_OPENING, model_objects
from vr_ros.training.trainers.sim_batches import IGNORED, BatchMaker

FIRST_COLOURS = 2
# Objects and kinds of rows that teach to group: at first as few as there can be.
GROUPS = ((2, 1), (2, 2), (3, 2), (4, 2), (6, 3), (9, 3))
# What is learnt slowest is what words alone can teach.
SLOW_SHARE = 0.75
# Of the rows have one object in a column at most: there words alone tell the order from the left.
SPREAD_SHARE = 0.5
SPREAD_UP_TO = 4  # objects: so few always are, where they are to be grouped
_WORDS = (SIZES, COLOURS, KINDS)  # in the order of a name, and of Noun's fields
_KIND = _WORDS.index(KINDS)
# A word of a name, held against the same field of what is asked for.
NOT_ASKED, FITS, CONTRADICTS = range(3)
_SIDES = ('left', 'right', 'leftmost', 'rightmost')
_BY_SIZE = ('larger', 'smaller', 'largest', 'smallest')  # where well posed, the size names decide
_SORTED = (Form.CAPTION, Form.COMPARE)  # by what is farther left, among others
_FROM_LIST = (Form.COLOUR, Form.SHAPE, Form.SIZE, Form.EXISTS, Form.CAPTION)


class WordBatch(NamedTuple):
    """Tensors of N rows.

    :param input_ids, attention_mask, labels: (N, L), right-padded.
    :param weights: (N, L) float, how much each label counts.
    :param names: (P, 2) row and column of each word of a listed name.
    :param fits: (P, 2) NOT_ASKED, FITS or CONTRADICTS: the word against the noun, and against the
        noun that it is related to.
    :param kinds: (K, 2) row and column of the last word of each name.
    :param alike: (K,) number of the place, other than its own, where the same colour and kind were
        last listed before; the number of places for none.
    :param groups: (G, 2) row and column of each token of a caption that goes on with a group or
        ends it.
    :param coloured: (N,) bool, whether a colour is asked for.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    names: torch.Tensor
    fits: torch.Tensor
    kinds: torch.Tensor
    alike: torch.Tensor
    groups: torch.Tensor
    coloured: torch.Tensor


class _Row(NamedTuple):
    """Tokens of prompt and response, and which of the response's are to be learnt."""

    prompt: list[int]
    wanted: list[int]
    kept: list[bool]
    instruction: SimInstruction


class WordRows:
    """Draws rows; prompts and responses are the batch maker's own, without the image tokens.

    As long as something is to be learnt from few things first, half of the rows are about that, or
    all when it is two things: which colours are asked for, and what of a list is alike.

    :param colours: of how many colours objects are, see :class:`WordHead`.
    :param groups: how many of ``GROUPS`` are learnt already.
    """

    def __init__(
        self, batches: BatchMaker, colours: int = FIRST_COLOURS, groups: int = 0
    ) -> None:
        self.batches, self.colours, self.groups = batches, colours, groups
        token = batches.tokenizer.convert_tokens_to_ids
        self._image = token('<|image_pad|>')
        self._list, self._divider = token([LIST_OPENING, ';'])
        self._places = {place: number for number, place in enumerate(batches.columns)}
        self._fields = [{self._word(word): word for word in words} for words in _WORDS]

    def draw(self, rows: int) -> WordBatch:
        """Make rows of one training step."""
        makers = self._lessons()
        made = [makers[i % len(makers)]() for i in range(rows)]
        ids, mask, labels = self.batches.pad([(prompt, wanted) for prompt, wanted, *_ in made])
        names, fits, kinds, alike, groups = [], [], [], [], []
        for number, (prompt, wanted, kept, instruction) in enumerate(made):
            start = len(prompt)
            labels[number, start:start + len(wanted)][~torch.tensor(kept)] = IGNORED
            for column, verdict in self._names(wanted, instruction):
                names.append((number, start + column))
                fits.append(verdict)
            for column, place in self._alike(wanted):
                kinds.append((number, start + column))
                alike.append(place)
            groups += [(number, start + column) for column in self._grouping(wanted, kept)]
        asked = [row.instruction for row in made]
        is_question = torch.tensor([i.task is Task.VQA for i in asked])
        return WordBatch(
            ids, mask, labels, self.batches.weigh(labels, is_question),
            torch.tensor(names).view(-1, 2), torch.tensor(fits).view(-1, 2),
            torch.tensor(kinds).view(-1, 2), torch.tensor(alike, dtype=torch.long),
            torch.tensor(groups, dtype=torch.long).view(-1, 2),
            torch.tensor([any(noun.colour for noun in _nouns(i)) for i in asked]))

    def _lessons(self) -> list[Callable[[], _Row]]:
        first = self._row_of_any if self.colours == len(COLOURS) else self._row_of_colours
        return [first] if self.groups == len(GROUPS) else [first, self._row_of_groups]

    def _row_of_any(self) -> _Row:
        truth = self.repaint(self._frame())
        if self.batches.rng.random() < SPREAD_SHARE:
            truth = self._spread(truth)
        return self._write(truth, self.batches.instruct(truth, SLOW_SHARE))

    def _row_of_colours(self) -> _Row:
        """Ask for a colour, and end behind the list."""
        while True:
            truth = self.repaint(self._frame())
            instruction = self.batches.instruct(truth, SLOW_SHARE)
            if any(noun.colour for noun in _nouns(instruction)):
                return self._write(truth, instruction, goes_on=False)

    def _row_of_groups(self) -> _Row:
        """Ask for a caption of few objects, which are often alike."""
        rng = self.batches.rng
        count, kinds = GROUPS[self.groups]
        while True:
            truth = self._frame()
            if rng.random() < SPREAD_SHARE or count <= SPREAD_UP_TO:
                truth = self._spread(truth)
            if len(truth.objects) >= 2:
                break
        kept = rng.permutation(len(truth.objects))[:count]
        colours = rng.choice(COLOURS[:self.colours], 2, replace=False)
        truth = self._paint(
            dataclasses.replace(truth, objects=tuple(truth.objects[i] for i in sorted(kept))),
            colours, rng.choice(KINDS, kinds, replace=False), SIZES)
        return self._write(truth, generate(truth, rng, 'train', 'vqa_caption'))

    def _frame(self) -> FrameTruth:
        bank = self.batches.bank
        return bank.truth(int(self.batches.rng.integers(len(bank))))

    def _write(
        self, truth: FrameTruth, instruction: SimInstruction, *, goes_on: bool = True
    ) -> _Row:
        batches = self.batches
        prompt = [t for t in batches.prompt_ids(instruction) if t != self._image]
        wanted = batches.response_ids(instruction, truth)
        follows = goes_on and self._follows(instruction, truth)
        kept = self._learnable(wanted, follows, instruction.query.form)
        return _Row(prompt, wanted[:len(kept)], kept, instruction)

    def repaint(self, truth: FrameTruth) -> FrameTruth:
        """Give the objects other colours, kinds and sizes, few of each, so that many of them differ
        from what is asked for in one word only."""
        rng = self.batches.rng
        colours: Sequence[str] = COLOURS[:self.colours]
        if len(colours) > 3 and rng.random() < 0.8:
            colours = rng.choice(colours, rng.integers(2, 4), replace=False)
        kinds = rng.choice(KINDS, rng.integers(1, 4) if rng.random() < 0.7 else len(KINDS), False)
        return self._paint(
            truth, colours, kinds, rng.choice(SIZES, rng.integers(1, len(SIZES) + 1), False))

    def _paint(
        self, truth: FrameTruth, colours: Sequence[str], kinds: Sequence[str],
        sizes: Sequence[str],
    ) -> FrameTruth:
        rng = self.batches.rng
        return dataclasses.replace(truth, objects=tuple(
            dataclasses.replace(o, colour=str(rng.choice(colours)), kind=str(rng.choice(kinds)),
                                size_name=str(rng.choice(sizes))) for o in truth.objects))

    def _spread(self, truth: FrameTruth) -> FrameTruth:
        """Leave one object in each column of the grid."""
        objects = model_objects(truth.targets, truth.size, self.batches.size)
        of_column = {objects[i].cell[1]: objects[i].truth
                     for i in self.batches.rng.permutation(len(objects))}
        return dataclasses.replace(truth, objects=tuple(of_column.values()))

    def _follows(self, instruction: SimInstruction, truth: FrameTruth) -> bool:
        """Whether what comes after the list follows from it and from the numbers given there."""
        query, ids = instruction.query, instruction.anchor_ids
        if query.form in (Form.ONE, Form.ALL, Form.FUNCTION, *_FROM_LIST):
            return True
        if query.relation in _BY_SIZE:
            return True
        if query.relation not in _SIDES:
            return False
        if query.form in (Form.RELATED, Form.COMPARE):
            return True  # both boxes stand before the answer
        things = [(o.truth, o.cell[1])
                  for o in model_objects(truth.targets, truth.size, self.batches.size)]
        column = {thing.id: at for thing, at in things}
        if query.form is Form.EXTREME:
            rivals = [at for thing, at in things if query.noun.matches(thing)]
            return len(rivals) == len(set(rivals))
        return len(ids) == 1 and all(
            at != column[ids[0]] for thing, at in things
            if thing.id != ids[0] and query.noun.matches(thing))

    def _learnable(self, wanted: Sequence[int], follows: bool, form: Form) -> list[bool]:
        batches = self.batches
        begin, end = wanted.index(self._list), wanted.index(batches.end)
        match = wanted.index(batches.match_opening) if batches.match_opening in wanted else end
        kept = [not begin < i < match or token in batches.verdicts
                for i, token in enumerate(wanted)]
        if not follows:
            return kept[:match + 1]
        tied = self._tied(wanted[begin:match], wanted[match:end]) if form in _SORTED else ()
        for i in range(match + 1, end):
            kept[i] = wanted[i] not in batches.coordinates and i - match not in tied
        return kept

    def _tied(self, listed: Sequence[int], named: Sequence[int]) -> set[int]:
        """:return: positions in ``named`` of places that share their column with a rival, so that
            only the image tells which is farther left. All that are listed are rivals for the first
            place of a group, those that follow it are so among themselves."""
        columns = [self.batches.columns.get(token) for token in named]
        everywhere = Counter(map(self.batches.columns.get, listed))
        tied = set()
        alike: Counter[int | None] | None = None
        for i, column in enumerate(columns):
            if column is not None and (alike or everywhere)[column] > 1:
                tied.add(i)
            if named[i] in self._fields[_KIND]:
                stop = next((j for j in range(i, len(named)) if named[j] == self._divider),
                            len(named))
                alike = Counter(columns[i:stop])
            elif named[i] == self._divider:
                alike = None
        return tied

    def _grouping(self, wanted: Sequence[int], kept: Sequence[bool]) -> list[int]:
        """:return: columns behind the last word of a name or behind a place, where a caption either
            names another place or ends the group."""
        return [i for i in range(1, len(kept)) if kept[i]
                and (wanted[i] in self._places or wanted[i] == self._divider)
                and (wanted[i - 1] in self._places or wanted[i - 1] in self._fields[_KIND])]

    def _names(
        self, wanted: Sequence[int], instruction: SimInstruction
    ) -> list[tuple[int, tuple[int, int]]]:
        """:return: column of each word of a listed name, and how it fits noun and anchor."""
        return [
            (i, tuple(_fit(noun, field, words[wanted[i]]) for noun in _nouns(instruction)))
            for i in self._listed(wanted)
            for field, words in enumerate(self._fields) if wanted[i] in words]

    def _alike(self, wanted: Sequence[int]) -> list[tuple[int, int]]:
        """:return: column of the last word of each name, in the list and behind it, and the number
            of the place where its colour and kind were last listed before, other than its own."""
        told, place = [], 0
        listed: dict[tuple[int, int], list[int]] = {}
        columns = self._listed(wanted)
        for i in range(columns.start, len(wanted)):
            if wanted[i] == self.batches.end:
                break
            if wanted[i] in self._places:
                place = self._places[wanted[i]]
            elif wanted[i] in self._fields[_KIND]:
                places = listed.setdefault((wanted[i - 1], wanted[i]), [])
                others = [other for other in places if other != place]
                told.append((i, others[-1] if others else len(self._places)))
                if i in columns:
                    places.append(place)
        return told

    def _listed(self, wanted: Sequence[int]) -> range:
        """:return: columns of the list in a response."""
        stops = (self.batches.match_opening, self.batches.end)
        begin = wanted.index(self._list)
        return range(begin + 1, next(i for i, token in enumerate(wanted) if token in stops))

    def _word(self, word: str) -> int:
        ids = self.batches.tokenizer(f' {word}', add_special_tokens=False)['input_ids']
        assert len(ids) == 1, f'{word!r} is {len(ids)} tokens'
        return ids[0]


def _nouns(instruction: SimInstruction) -> tuple[Noun, Noun]:
    return instruction.query.noun, instruction.query.anchor


def _fit(noun: Noun, field: int, word: str) -> int:
    return NOT_ASKED if not noun[field] else FITS if noun[field] == word else CONTRADICTS
