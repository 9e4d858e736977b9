"""The fit of a fusion: it finds what made the answers right, and the card reads what it prints."""
from __future__ import annotations

import numpy as np
import pytest
import yaml

from vr_ros.core.types import Size, Status
from vr_ros.evaluation.scores import fit
from vr_ros.evaluation.scores.fit import FitError, card_lines, fit_fusion, main
from vr_ros.evaluation.scores.records import Judged
from vr_ros.models.card_confidence import read_confidence
from vr_ros.models.schema import Section

pytest.importorskip('sklearn')
BOX, FAR = (0, 0, 10, 10), (60, 60, 70, 70)


def made_up(number: int, seed: int = 0, lacking: float = 0.0) -> list[Judged]:
    """Answers that are right with odds of 1 + 2 * tokens - 0.5 * area; spread says nothing."""
    rng = np.random.default_rng(seed)
    found = []
    for place in range(number):
        tokens, area, spread = rng.normal(-1, 1), rng.normal(3, 2), rng.normal()
        right = rng.random() < 1 / (1 + np.exp(-(1 + 2 * tokens - 0.5 * area)))
        if rng.random() < lacking:
            spread = np.nan
        found.append(Judged(
            str(place), 'x', 'detect_one', Status.OK, Size(100, 100), np.array([BOX], float),
            np.array([BOX if right else FAR], float),
            {'tokens': np.array([tokens]), 'area': np.array([area]),
             'spread': np.array([spread]), 'margin': np.array([np.nan]),
             'own': np.array([float(place % 10 > 0)])}))
    return found


def test_it_finds_what_made_the_answers_right():
    fusion = fit_fusion(made_up(8000, lacking=0.5), ('tokens', 'area', 'spread', 'margin'))
    assert fusion.terms['tokens'].weight == pytest.approx(2.0, abs=0.15)
    assert fusion.terms['area'].weight == pytest.approx(-0.5, abs=0.05)
    assert fusion.terms['spread'].weight == pytest.approx(0.0, abs=0.12)
    assert fusion.bias == pytest.approx(1.0, abs=0.2)
    assert fusion.terms['tokens'].mean == pytest.approx(-1.0, abs=0.05)
    assert 'margin' not in fusion.terms                    # it is never known
    # Its probabilities are true: of those near 0.3, three in ten are right.
    others = made_up(8000, seed=1)
    scores = np.concatenate([fusion.score(one.features, 1) for one in others])
    right = np.array([tuple(one.found[0]) == BOX for one in others])
    for low in (0.1, 0.3, 0.5):
        chosen = (scores >= low) & (scores < low + 0.2)
        assert right[chosen].mean() == pytest.approx(scores[chosen].mean(), abs=0.05)


def test_a_closer_box_ranks_above_a_loose_one():
    """Whether a box is right says nothing of agreement here, how close it is does."""
    rng = np.random.default_rng(3)
    judged = []
    for place in range(3000):
        close, right = rng.random() < 0.5, rng.random() < 0.7
        box = (0, 0, 10, 10 if close else 6) if right else FAR
        judged.append(Judged(
            str(place), 'x', 'detect_one', Status.OK, Size(100, 100), np.array([BOX], float),
            np.array([box], float), {'agreement': np.array([float(close)]),
                                     'tokens': rng.normal(float(right), 1.0, 1)}))
    fusion = fit_fusion(judged, ('agreement', 'tokens'))
    assert fusion.terms['agreement'].weight > 0.3
    # Of all objects, 70 % are right at IoU 0.5, and that is what the scores say.
    scores = [fusion.score(one.features, 1)[0] for one in judged]
    assert np.mean(scores) == pytest.approx(0.7, abs=0.02)


def test_the_card_reads_what_is_printed(tmp_path):
    fusion = fit_fusion(made_up(500), ('tokens', 'area'))
    lines = ['source: fused', *card_lines(fusion, indent='')]
    values = yaml.safe_load('\n'.join(lines))
    read = read_confidence(Section(values, tmp_path / 'card.yaml')).fusion
    assert read is not None
    judged = made_up(50, seed=2)
    for one in judged:
        assert read.score(one.features, 1) == pytest.approx(fusion.score(one.features, 1), abs=2e-3)


@pytest.mark.parametrize('judged', [
    [],
    [one for one in made_up(200) if tuple(one.found[0]) == BOX],     # nothing wrong
    [one for one in made_up(200) if tuple(one.found[0]) == FAR],     # nothing right
])
def test_nothing_to_fit_is_said(judged):
    with pytest.raises(FitError, match='it takes right and wrong ones'):
        fit_fusion(judged, ('tokens',))


@pytest.mark.parametrize('arguments', [
    ('--scenes', '0'),
    ('--first-seed', '-1'),
    ('--first-seed', '1000000', '--scenes', '1'),     # those of the examination
    ('--first-seed', '999999', '--scenes', '2'),      # runs into them
    ('--features', 'token'),
])
def test_bad_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err or 'seeds from' in capsys.readouterr().err


def test_without_the_library_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(__import__('sys').modules, 'sklearn.linear_model', None)
    monkeypatch.setattr(fit, 'collect', lambda options: made_up(50))
    assert main(['--scenes', '1']) == 2
    assert "pip install '.[train]'" in capsys.readouterr().err


def test_the_numbers_are_printed(monkeypatch, capsys):
    monkeypatch.setattr(fit, 'collect', lambda options: made_up(300))
    assert main(['--features', 'tokens', 'area']) == 0
    said = capsys.readouterr().out
    assert said.startswith('# 270 objects of 300 answers, scenes from seed 2000000')
    assert set(yaml.safe_load(said)['fusion']['features']) == {'tokens', 'area'}
    assert main([]) == 0
    assert set(yaml.safe_load(capsys.readouterr().out)['fusion']['features']) == {
        'tokens', 'area', 'spread'}
    assert main(['--others']) == 0
    said = capsys.readouterr().out
    assert said.startswith('# 300 objects of 300 answers')
    assert 'own' in yaml.safe_load(said)['fusion']['features']
