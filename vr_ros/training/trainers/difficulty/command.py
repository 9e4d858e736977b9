"""``./run train difficulty``: how often a model answers each row right, and the rows sorted by it.

The model of the card answers every row several times; an interrupted run goes on where it was.
``rates.jsonl`` lists what each row's answers are worth. The rows go to ``easy`` (all right),
``medium`` (some) and ``hard`` (none), to the stages of a curriculum, or to what V-Triune keeps and
drops: training data like what was read.
"""
from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from vr_ros.core.types import PerceptionError
from vr_ros.models.card import load_card
from vr_ros.models.card_types import ModelCard
from vr_ros.progress import Meter
from vr_ros.training.adapters.columns import Ready, ready_row
from vr_ros.training.adapters.ordered_shards import count_rows
from vr_ros.training.data.schema import row_from_columns
from vr_ros.training.data.shards import ShardError, find_files, iter_columns
from vr_ros.training.options import number_from
from vr_ros.training.rewards.samples import SampleError
from vr_ros.training.rewards.scoring import Scorer
from vr_ros.training.rewards.stages import CurriculumError, load_curriculum
from vr_ros.training.trainers.difficulty.answers import (
    AnswerFile,
    Answers,
    AnswersError,
    read_foreign,
)
from vr_ros.training.trainers.difficulty.sets import (
    BY_DIFFICULTY,
    BY_V_TRIUNE,
    Rate,
    Sets,
    by_difficulty,
    by_stage,
    by_v_triune,
    check_room,
    clear_set,
    rate,
    write_sets,
)

ANSWERS, RATES, LEFT_OUT = 'answers.jsonl', 'rates.jsonl', 'left_out.jsonl'
NAMED = 3
# A row, or its id and why it cannot be used.
Given = Ready | tuple[str, str]
Sort = Callable[[Sequence[Rate]], Sets]


def main(arguments: Sequence[str]) -> int:
    """Sample, score and sort.

    :return: 0 done; 1 done, but rows were left out; 2 bad usage or data.
    """
    options = _parse(arguments)
    try:
        sort, names = _sorting(options)
        card = load_card(options.card)
        files = _files(options)
        check_room(options.out, names, options.split, options.data)
        answers = _answers(options, card, files)
        rates, left_out = _rate(_given(files, card, options.limit), answers, options.answers)
        sizes = _write(options, sort(rates) if rates else {}, rates, left_out, files)
    except (AnswersError, CurriculumError, PerceptionError, ShardError, OSError) as error:
        print(f'train difficulty: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    _report(options, rates, sizes, left_out)
    return 1 if left_out else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='run train difficulty', description=__doc__)
    parser.add_argument('--card', default='visionreasoner_7b',
                        help='model card of who answers (default: %(default)s)')
    parser.add_argument('--data', type=Path, required=True,
                        help='folder with train-00000-of-00001.parquet …')
    parser.add_argument('--out', type=Path, required=True, help='folder for all that is written')
    parser.add_argument('--split', default='train', help='(default: %(default)s)')
    parser.add_argument('--rollouts', type=number_from(2), default=8,
                        help='answers to each row (default: %(default)s)')
    parser.add_argument('--temperature', type=float, default=1.0, help='(default: %(default)s)')
    parser.add_argument('--seed', type=number_from(0), default=0, help='(default: %(default)s)')
    parser.add_argument('--device', default='auto', help='default: a GPU where there is one')
    parser.add_argument('--limit', type=number_from(1), metavar='ROWS',
                        help='look at the first so many rows only')
    parser.add_argument('--answers', type=Path,
                        help='take answers that something else drew, such as vLLM: JSON lines '
                        '{"id": …, "responses": […]}')
    how = parser.add_mutually_exclusive_group()
    how.add_argument('--curriculum', metavar='NAME',
                     help='sort into the stages of boxes_first, pebr_r1 or a JSON file')
    how.add_argument('--v-triune', action='store_true', help='keep what V-Triune keeps')
    options = parser.parse_args(arguments)
    if not 0 < options.temperature < math.inf:
        parser.error('--temperature is above 0')
    return options


def _sorting(options: argparse.Namespace) -> tuple[Sort, Sequence[str]]:
    """Choose how rows are sorted, and name the sets."""
    if options.curriculum:
        curriculum = load_curriculum(options.curriculum)
        if curriculum.rollouts != options.rollouts:
            raise CurriculumError(f'{curriculum.name} wants --rollouts {curriculum.rollouts}')
        return by_stage(curriculum), [stage.name for stage in curriculum.stages]
    return (by_v_triune, BY_V_TRIUNE) if options.v_triune else (by_difficulty, BY_DIFFICULTY)


def _files(options: argparse.Namespace) -> list[Path]:
    """Find the files of the split, and have a look into each before any model is asked."""
    files = find_files(options.data, options.split)
    for path in files:
        next(iter_columns([path]), None)
    if not count_rows(files):
        raise ShardError(f'{files[0]}: no row is in this split')
    return files


def _given(files: Sequence[Path], card: ModelCard, limit: int | None) -> Iterator[Given]:
    for place, columns in enumerate(islice(iter_columns(files), limit)):
        try:
            yield ready_row(columns, place, card.reasoner)
        except SampleError as error:
            yield str(columns['id']), str(error)


def _answers(options: argparse.Namespace, card: ModelCard, files: Sequence[Path]
             ) -> dict[str, Answers]:
    """Draw what answers are not there yet."""
    if options.answers:
        return read_foreign(options.answers, options.rollouts)
    # They bring torch, which answers from elsewhere do not need.
    from vr_ros.models.device import pick_device
    from vr_ros.training.trainers.difficulty.sampler import Sampler

    device = pick_device(options.device)
    total = _total(files, options.limit)
    file = AnswerFile(options.out / ANSWERS, {
        'model': str(card.reasoner.weights), 'card': card.name, 'rollouts': options.rollouts,
        'temperature': options.temperature, 'seed': options.seed,
        'data': [[path.name, path.stat().st_size] for path in files]})
    with Meter(total, min(total, len(file.known)), what='rows') as meter:
        sampler = None
        for one in _given(files, card, options.limit):
            if not isinstance(one, Ready):
                meter.advance(1)
                continue
            if one.row.id in file.known:
                continue
            if sampler is None:
                sampler = Sampler(card.reasoner, options.rollouts, options.temperature,
                                  options.seed, device)
            file.add(sampler.ask(one))
            meter.advance(1)
    return {answers.id: answers for answers in file.read()}


def _rate(given: Iterator[Given], answers: dict[str, Answers], foreign: Path | None
          ) -> tuple[list[Rate], dict[str, str]]:
    """Score the answers.

    :param foreign: the file that was to hold answers to all rows.
    :return: rates of the rows with answers, and why others have none, by id.
    """
    scorer, rates, left_out = Scorer(), [], {}
    for one in given:
        if not isinstance(one, Ready):
            left_out[one[0]] = one[1]
        elif one.row.id in answers:
            try:
                rates.append(rate(one, answers[one.row.id], scorer))
            except SampleError as error:
                left_out[one.row.id] = str(error)
        elif foreign:
            left_out[one.row.id] = f'no answers in {foreign}'
    return rates, left_out


def _write(options: argparse.Namespace, sets: Sets, rates: Sequence[Rate],
           left_out: dict[str, str], files: Sequence[Path]) -> dict[str, int]:
    options.out.mkdir(parents=True, exist_ok=True)
    _write_lines(options.out / RATES, [one.as_json() for one in rates])
    _write_lines(options.out / LEFT_OUT, [
        {'id': id, 'reason': reason} for id, reason in left_out.items()])
    for name in sets:
        # Written anew each time: answers and rates are what takes long.
        clear_set(options.out / name, options.split)
    rows = map(row_from_columns, islice(iter_columns(files), options.limit))
    identity = {'answers': str(options.answers or ANSWERS), 'card': options.card}
    total = _total(files, options.limit)
    return write_sets(options.out, sets, options.split, rows, total, identity)


def _total(files: Sequence[Path], limit: int | None) -> int:
    rows = count_rows(files)
    return rows if limit is None else min(rows, limit)


def _write_lines(path: Path, lines: Sequence[object]) -> None:
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines), encoding='utf-8')


def _report(options: argparse.Namespace, rates: Sequence[Rate], sizes: dict[str, int],
            left_out: dict[str, str]) -> None:
    right = sum(one.right for one in rates) / len(rates) if rates else 0.0
    print(f'{len(rates)} rows, {right:.0%} of their answers right: {options.out / RATES}')
    for name, rows in sizes.items():
        print(f'{options.out / name}: {rows} rows')
    for id, reason in list(left_out.items())[:NAMED]:
        print(f'left out: {id}: {reason}', file=sys.stderr)
    if left_out:
        print(f'{len(left_out)} rows left out, all of them in {options.out / LEFT_OUT}',
              file=sys.stderr)
