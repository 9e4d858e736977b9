"""``./run train``: names its recipes, refuses others in one line."""
from __future__ import annotations

import pytest

from vr_ros.training.cli import main


@pytest.mark.parametrize(('arguments', 'status'), [
    (['--help'], 0),
    ([], 2),
    (['sim_huge'], 2),
])
def test_usage(arguments, status, capsys):
    assert main(arguments) == status
    output = capsys.readouterr()
    assert 'sim_tiny' in output.out + output.err
    assert len((output.out + output.err).splitlines()) == 1


def test_a_recipe_takes_its_own_options(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['sim_tiny', '--help'])
    assert ended.value.code == 0
    assert '--joint-minutes' in capsys.readouterr().out
