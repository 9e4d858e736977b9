"""The simulated camera's launch file agrees with its parameter table; `launch` may be missing."""
from __future__ import annotations

import ast
from pathlib import Path

from vr_ros.nodes.parameter_spec import coerce, default_text, problem, specs
from vr_ros.nodes.sim.camera_node import SimCameraParameters

LAUNCH_FILE = Path(__file__).parents[2] / 'launch' / 'sim.launch.py'
KINDS = {'int': int, 'double': float, 'string': str, 'bool': bool}


def arguments() -> dict[str, tuple[type, str, str]]:
    """Read name, type, default and meaning of the arguments that are parameters."""
    for node in ast.parse(LAUNCH_FILE.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'PARAMETERS':
            rows = eval(compile(ast.Expression(node.value), str(LAUNCH_FILE), 'eval'))
            return {name: (kind, default, meaning) for name, kind, default, meaning in rows}
    raise AssertionError('no PARAMETERS')


def test_arguments_have_types_and_defaults_of_their_parameters() -> None:
    for spec in specs(SimCameraParameters):
        if spec.name in arguments():
            kind, default, meaning = arguments()[spec.name]
            assert kind is KINDS[spec.kind]
            assert default == default_text(spec.default)
            assert problem(spec, coerce(spec, kind(default))) == ''
            assert meaning


def test_every_argument_is_a_parameter() -> None:
    names = {spec.name for spec in specs(SimCameraParameters)}
    assert set(arguments()) - names == {'use_sim_time'}
    assert {'seed', 'orbit', 'rate', 'objects'} <= set(arguments())


def test_what_every_launch_file_takes_is_taken() -> None:
    text = LAUNCH_FILE.read_text(encoding='utf-8')
    for name in ('namespace', 'log_level'):
        assert f"DeclareLaunchArgument('{name}'" in text
        assert f"LaunchConfiguration('{name}')" in text
