"""What a public set is, as data, and the source that it makes: drawn, filtered, phrased."""
from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vr_ros.datasets.sample import DataSet, DataSetError, Sample
from vr_ros.training.data.source import DataSetSource, Draft, LeftOut, Recipe, Scoring
from vr_ros.training.data.sources.filters import Filter, read_filters
from vr_ros.training.data.storage import Storage

DATA = Path('data')
# Times that a table is read through for the rows that are wanted, if all of them are taken.
_PIECES = 4
# Which samples, by how many objects are asked for.
NUMBERS: dict[str, Callable[[int], bool]] = {
    'absent': lambda number: number == 0, 'present': lambda number: number > 0,
    'single': lambda number: number == 1, 'several': lambda number: number > 1,
}


@dataclass(frozen=True)
class Declared:
    """A public set.

    :param title: as its authors call it.
    :param files: that have to lie in its folder.
    :param page: where they tell how to get them.
    :param licence: as they state it; for pictures and annotations where these differ.
    :param open: makes its reader, of its folder and a part.
    :param part: what they call the part for training; empty: the only one.
    :param ability: empty: the name of the task.
    :param scoring: empty: by task and rule, see :mod:`vr_ros.training.data.ground_truth`.
    :param filters: see :data:`~.filters.FILTERS`.
    :param phrase: the instruction, with its own text for {}.
    :param region_is_object: see :class:`~vr_ros.training.data.source.Recipe`.
    :param storage: of images, where nothing else is said.
    """

    title: str
    files: str
    page: str
    licence: str
    open: Callable[[Path, str], DataSet]
    part: str = 'train'
    ability: str = ''
    scoring: Scoring = Scoring()
    filters: Sequence[str] = ()
    phrase: str = '{}'
    region_is_object: bool = False
    storage: Storage = Storage()

    @property
    def how_to_get(self) -> str:
        """One line."""
        return f'{self.title} is {self.files}; how to get it: {self.page}'


@dataclass(frozen=True)
class Drawing:
    """Which samples of a set are taken, and how.

    :param seed: of their order; None: that of the set.
    :param only: one of NUMBERS; empty: all.
    :param balanced: categories take turns, so that frequent ones do not fill the rows.
    :param filters: in place of the set's own; None: those.
    :param scoring: in place of the set's own; None: that.
    :param limit: so many rows are wanted; None: all.
    :raises DataSetError: ``only`` is none of these.
    """

    seed: int | None = 0
    only: str = ''
    balanced: bool = False
    filters: Sequence[str] | None = None
    scoring: Scoring | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.only and self.only not in NUMBERS:
            raise DataSetError(f'only is one of {", ".join(NUMBERS)}, not {self.only!r}')

    def order(self, data_set: DataSet) -> np.ndarray:
        """Draw places of a set; those of too many or too few objects are left out where it tells.

        :raises DataSetError: categories are to take turns, and the set has none.
        """
        places = np.arange(len(data_set.ids))
        if self.seed is not None:
            places = np.random.default_rng(self.seed).permutation(places)
        numbers = getattr(data_set, 'numbers', None)
        if self.only and numbers is not None:
            fits = NUMBERS[self.only]
            places = places[[fits(numbers[place]) for place in places]]
        if not self.balanced:
            is_drawn = self.seed is not None and getattr(data_set, 'has_groups', False)
            return in_pieces(places, self.limit) if is_drawn else places
        categories = getattr(data_set, 'categories', None)
        if categories is None:
            raise DataSetError(f'{data_set.name}: has no categories that could take turns')
        seen: Counter[str] = Counter()
        turns = np.empty(len(places), int)
        for index, place in enumerate(places):
            turns[index] = seen[categories[place]]
            seen[categories[place]] += 1
        return places[np.argsort(turns, kind='stable')]


class PublicSource(DataSetSource):
    """Drafts of a public set.

    :param name: of the data source.
    """

    def __init__(self, name: str, declared: Declared, data_set: DataSet,
                 drawing: Drawing = Drawing()) -> None:  # noqa: B008
        specs = declared.filters if drawing.filters is None else drawing.filters
        filters: tuple[Filter, ...] = read_filters(specs)
        if drawing.only:
            filters = (_only(drawing.only), *filters)
        recipe = Recipe(
            name, declared.ability, scoring=drawing.scoring or declared.scoring, filters=filters,
            region_is_object=declared.region_is_object)
        super().__init__(data_set, recipe, drawing.order(data_set))
        self._declared = declared
        self.identity = f'{self.identity}, {declared.phrase!r}, {drawing}, filters {list(specs)}'

    def load(self, place: int) -> Iterable[Draft]:
        """See :class:`vr_ros.training.data.source.Source`."""
        for draft in super().load(place):
            truth, extra = draft.truth, dict(draft.extra)
            if truth.boxes is not None and truth.category and not truth.labels:
                truth = replace(truth, labels=(truth.category,) * len(truth.boxes))
            if truth.points is not None and truth.boxes is None and truth.size.width:
                # Shares of width and height: they hold for the stored image, too.
                sides = truth.size.width, truth.size.height
                extra['points'] = (truth.points / sides).round(5).tolist()
            points = truth.points if truth.boxes is not None else None
            yield replace(draft, problem=self._declared.phrase.format(draft.problem), truth=truth,
                          points=points, extra=extra)


@dataclass(frozen=True)
class PublicBuilder:
    """A public set on the command line."""

    name: str
    declared: Declared

    @property
    def storage(self) -> Storage:
        """How its images are stored where nothing else is said."""
        return self.declared.storage

    @property
    def help(self) -> str:
        return f'{self.declared.title} ({self.declared.page})'

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`vr_ros.training.data.source.Builder`."""
        parser.add_argument('--data', type=Path, default=DATA / self.name, metavar='DIR',
                            help=f'{self.declared.files} (default: %(default)s)')
        parser.add_argument('--only', choices=NUMBERS, help='by how many objects are asked for')
        parser.add_argument('--balanced', action='store_true', help='categories take turns')
        parser.add_argument('--filters', nargs='*', metavar='NAME[=VALUE]',
                            help=f'(default: {" ".join(self.declared.filters) or "none"})')
        rewarded = parser.add_argument_group('how responses are scored (default: by its own)')
        rewarded.add_argument('--verifier', metavar='NAME')
        rewarded.add_argument('--parameters', type=json.loads, metavar='JSON',
                              help='of the verifier')
        rewarded.add_argument('--accuracy-ratio', type=float, metavar='WEIGHT')
        rewarded.add_argument('--format-ratio', type=float, metavar='WEIGHT')

    def open(self, options: argparse.Namespace) -> PublicSource:
        """See :class:`vr_ros.training.data.source.Builder`."""
        own = self.declared.scoring
        parameters = own.parameters if options.verifier in (None, own.verifier) else {}
        scoring = replace(
            own, verifier=options.verifier or own.verifier,
            parameters={**parameters, **(options.parameters or {})},
            accuracy_ratio=_either(options.accuracy_ratio, own.accuracy_ratio),
            format_ratio=_either(options.format_ratio, own.format_ratio))
        drawing = Drawing(
            options.seed, options.only or '', options.balanced, options.filters, scoring,
            options.limit)
        return open_public(self.name, self.declared, options.data, options.split, drawing)


def in_pieces(order: np.ndarray, limit: int | None) -> np.ndarray:
    """Sort a drawn order piece by piece, so that a table is read through a few times, not per row.

    :param limit: so many rows are wanted; a piece is a quarter of them, and comes from all of the
        table.
    """
    size = max(1, -(-(len(order) if limit is None else limit) // _PIECES))
    return np.concatenate([np.sort(order[start:start + size])
                           for start in range(0, len(order), size)] or [order])


def open_public(
    name: str, declared: Declared, path: Path, split: str, drawing: Drawing,
) -> PublicSource:
    """Open a public set.

    :param split: train stands for what its authors call so.
    :raises DataSetError: it is not there; one line says what to get from where.
    """
    if not path.exists():
        raise DataSetError(f'{path} is not there. {declared.how_to_get}')
    part = declared.part if split == 'train' else split
    try:
        data_set = declared.open(path, part)
    except (DataSetError, OSError) as error:
        raise DataSetError(f'{error}. {declared.how_to_get}') from error
    return PublicSource(name, declared, data_set, drawing)


def _either(given: float | None, own: float | None) -> float | None:
    return own if given is None else given


def _only(which: str) -> Filter:
    def look(sample: Sample) -> None:
        count = sample.truth.count
        if count is None or not NUMBERS[which](count):
            raise LeftOut(f'not {which}', str(count))

    return look
