"""``./run train samples --bag DIR``: the frames of a bag with corrected results, as training data.
"""
from __future__ import annotations

import argparse
from collections.abc import Sequence

from vr_ros.training.data.command import OUT, add_options, run
from vr_ros.training.data.sources.bag import BagBuilder


def main(arguments: Sequence[str]) -> int:
    """Make rows of a bag; see :func:`vr_ros.training.data.command.main`."""
    builder = BagBuilder()
    parser = argparse.ArgumentParser(prog='run train samples', description=builder.help)
    builder.add_options(parser)
    # Each process reads the whole bag once.
    add_options(parser, out=' and the name of the bag', processes=1)
    options = parser.parse_args(arguments)
    options.out = options.out or OUT / options.bag.resolve().stem
    return run('bag', options)
