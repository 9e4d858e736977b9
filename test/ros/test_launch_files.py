"""Launch and parameter files agree with the parameter table; `launch` need not be installed."""
from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vr_ros.nodes.bags import record_options
from vr_ros.nodes.bags.profiles import DEFAULT_IMAGES, DEFAULT_PROFILE, RecordCommand
from vr_ros.nodes.bags.record_options import RecordOptions
from vr_ros.nodes.parameter_spec import coerce, problem, specs
from vr_ros.nodes.parameters import PerceptionParameters

ROOT = Path(__file__).parents[2]
LAUNCH_FILE = ROOT / 'launch' / 'perception.launch.py'
RECORD_FILE = ROOT / 'launch' / 'record.launch.py'
PARAMS_FILE = ROOT / 'config' / 'perception.yaml'
# What every launch file of a node takes; none of them is a parameter of the table's but autostart.
STANDARD = {'namespace', 'use_sim_time', 'params_file', 'autostart', 'log_level'}
WANTED = {'model', 'worker_python', 'image_topics'}
TABLE = {spec.name: spec for spec in specs(PerceptionParameters)}


def declared(path: Path) -> dict[str, str]:
    """Read a launch file's arguments and their literal defaults from its source."""
    arguments = {}
    for call in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(call, ast.Call) and getattr(call.func, 'id', '') == 'DeclareLaunchArgument':
            keywords = {keyword.arg: keyword.value for keyword in call.keywords}
            assert 'description' in keywords, f'argument without a description: {ast.dump(call)}'
            name = ast.literal_eval(call.args[0])
            assert name not in arguments, f'{name} is declared twice'
            default = keywords['default_value']
            arguments[name] = default.value if isinstance(default, ast.Constant) else '…'
    return arguments


def constant(path: Path, name: str) -> Any:
    """Read a literal that a launch file assigns to a name at its top level."""
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == name:
            return ast.literal_eval(node.value)
    raise KeyError(name)


@pytest.mark.parametrize('path', sorted((ROOT / 'launch').glob('*.launch.py')),
                         ids=lambda path: path.name)
def test_every_launch_file_compiles(path: Path) -> None:
    compile(path.read_text(encoding='utf-8'), str(path), 'exec')


def test_arguments_are_parameters_of_the_node() -> None:
    arguments = declared(LAUNCH_FILE)
    assert STANDARD | WANTED <= arguments.keys()
    assert arguments.keys() - STANDARD <= TABLE.keys()
    assert 'autostart' in TABLE


def test_arguments_reach_the_node_and_only_when_given() -> None:
    arguments = declared(LAUNCH_FILE)
    passed_on = set(constant(LAUNCH_FILE, 'PARAMETERS'))
    assert passed_on == arguments.keys() - STANDARD
    # An empty default lets the parameters file decide.
    assert all(arguments[name] == '' for name in passed_on)
    assert arguments['autostart'] == 'true' and TABLE['autostart'].default is False


def test_parameters_file_holds_defaults_of_the_table() -> None:
    values = yaml.safe_load(PARAMS_FILE.read_text(encoding='utf-8'))['/**']['perception'][
        'ros__parameters']
    for name, value in values.items():
        assert problem(TABLE[name], coerce(TABLE[name], value)) == ''
        assert coerce(TABLE[name], value) == TABLE[name].default


def test_what_is_commented_out_in_the_parameters_file_exists() -> None:
    text = PARAMS_FILE.read_text(encoding='utf-8')
    names = set(re.findall(r'^ +# (\w+):', text, re.MULTILINE)) - {'qos_overrides'}
    assert names and names <= TABLE.keys()


def test_the_recording_takes_the_standard_arguments_and_those_of_the_recorder() -> None:
    arguments = declared(RECORD_FILE)
    assert arguments.keys() >= {'namespace', 'use_sim_time', 'log_level'}
    own = {action.dest for action in record_options._parser()._actions}
    assert arguments.keys() - {'namespace', 'use_sim_time', 'log_level', 'recorder',
                               'qos_overrides'} <= own
    defaults = RecordOptions(Path(), {})
    assert arguments['profile'] == DEFAULT_PROFILE
    assert [arguments['images']] == list(DEFAULT_IMAGES)
    assert float(arguments['max_bag_size']) == defaults.max_file_bytes
    assert float(arguments['window']) == RecordCommand('incident', '').window_s


def test_every_argument_of_the_recording_is_used() -> None:
    text = RECORD_FILE.read_text(encoding='utf-8')
    for name in declared(RECORD_FILE):
        assert f"given('{name}')" in text
    for package in constant(RECORD_FILE, 'ROSBAG2'):
        assert f'<exec_depend>{package}</exec_depend>' in (ROOT / 'package.xml').read_text()
