"""How commands end: figures on the screen, and in the files that the options name."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vr_ros.datasets.sample import DataSet, main_figure
from vr_ros.evaluation.runs.summary import Summary

# Names of the options that are files to be written.
FILES = ('json', 'html', 'markdown')
_GALLERY = 12


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Declare which files a run leaves, besides its records."""
    parser.add_argument('--json', type=Path, help='write the claims there')
    parser.add_argument('--html', type=Path, help='write a page with plots and cases there')
    parser.add_argument('--markdown', type=Path, help='write the tables there')
    parser.add_argument('--gallery', type=int, default=_GALLERY, metavar='N',
                        help='of the page: the N worst and the N best cases'
                             ' (default: %(default)s)')


def conclude(
    options: argparse.Namespace, summary: Summary, data_set: DataSet | None,
    besides: Sequence[str] = (), **more: Any,
) -> int:
    """Print the figures, and write the files that are asked for.

    :param data_set: whose pictures are shown; None: it is not at hand.
    :param besides: what else has to be said, a line each.
    :param more: what the JSON says beside the claims.
    :return: 0 complete, 1 samples are missing, were skipped or not answered.
    :raises OSError: if a file cannot be written.
    """
    # Not before: they bring what draws.
    from vr_ros.evaluation.pages.gallery import pictures_of
    from vr_ros.evaluation.pages.run_markdown import write_run_markdown
    from vr_ros.evaluation.pages.run_page import Look, write_run_page

    figure = main_figure(data_set) if data_set else ''
    summary.show()
    summary.show_main_figure(figure)
    for line in besides:
        Console().print(line, markup=False)
    if options.json:
        summary.write_json(options.json, main_figure=figure, **more)
    if options.html:
        pictures = pictures_of(data_set) if data_set else None
        write_run_page(summary, options.html, Look(pictures, options.gallery, besides))
    if options.markdown:
        write_run_markdown(summary, options.markdown, besides)
    return 1 if summary.is_incomplete else 0
