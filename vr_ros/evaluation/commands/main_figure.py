"""The one figure by which a data set is scored, apart from the table of all."""
from __future__ import annotations

from rich.console import Console

from vr_ros.datasets.sample import DataSet, main_figure
from vr_ros.evaluation.runs.summary import Summary


def show_main_figure(summary: Summary, data_set: DataSet) -> str:
    """Print the main figure of a data set, where it has one and something counted for it.

    :return: its name; empty where there is none.
    """
    name = main_figure(data_set)
    for figure in summary.figures:
        if figure.name == name and figure.value is not None:
            interval = '' if figure.low is None else f' ({figure.low:.4g} to {figure.high:.4g})'
            Console().print(
                f'main figure of this data set: {name} {figure.value:.4g}{interval}', markup=False)
    return name
