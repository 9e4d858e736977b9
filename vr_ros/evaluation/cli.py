"""``./run evaluate WHAT`` and ``ros2 run vr_ros evaluate WHAT``."""
from __future__ import annotations

import argparse
import sys

from vr_ros.core.types import PerceptionError
from vr_ros.datasets.sample import DataSetError
from vr_ros.evaluation.commands import bag, compare, dataset, merge, report, segmenter, sim
from vr_ros.evaluation.commands.options import check_options
from vr_ros.evaluation.runs.records import RecordsError
from vr_ros.evaluation.runs.runner import RunError


def parser() -> argparse.ArgumentParser:
    """Declare all commands; what each runs is ``run`` of its options."""
    made = argparse.ArgumentParser(
        prog='evaluate', description='Score a model against known answers.')
    what = made.add_subparsers(dest='what', required=True)
    for command in (sim, dataset, segmenter, bag, merge, report, compare):
        command.add_command(what)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run an evaluation.

    :return: 0 complete, 1 samples were skipped or not answered, 2 bad usage.
    """
    options = parser().parse_args(arguments)
    try:
        check_options(options)
        return options.run(options)
    except (DataSetError, RecordsError, OSError) as error:
        message, code = str(error), 2
    except PerceptionError as error:
        message, code = error.message, 2
    except RunError as error:
        message, code = str(error), 1
    except KeyboardInterrupt:
        message, code = 'stopped; with --records the same command goes on', 1
    print(f'evaluate: {message}', file=sys.stderr)
    return code


if __name__ == '__main__':
    raise SystemExit(main())
