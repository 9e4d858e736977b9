"""The rules that keep the parts apart: who imports whom, and how long a module may be."""
from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'vr_ros'
MODULES = sorted(PACKAGE.rglob('*.py'))
LONGEST_MODULE = 320
GENERATED = ('vr_ros.msg', 'vr_ros.srv', 'vr_ros.action')
ROS = ('rclpy', 'rclpy_components', 'builtin_interfaces', 'diagnostic_msgs', 'geometry_msgs',
       'lifecycle_msgs', 'rcl_interfaces', 'sensor_msgs', 'std_msgs', 'std_srvs',
       'unique_identifier_msgs', 'visualization_msgs')
OPTIONAL = ('bond', 'cv_bridge', 'diagnostic_updater', 'image_transport', 'launch', 'launch_ros',
            'message_filters', 'rosbag2_py', 'tf2_geometry_msgs', 'tf2_msgs', 'tf2_py', 'tf2_ros',
            'vision_msgs')


def imported_by(tree: ast.AST) -> Iterator[str]:
    """Name what a piece of code imports; `from a import b` gives both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def imports_of(path: Path) -> set[str]:
    return set(imported_by(ast.parse(path.read_text(encoding='utf-8'))))


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f'{package}.') for package in packages)


def offenders(packages: tuple[str, ...], allowed: tuple[str, ...]) -> list[str]:
    """List the modules outside the allowed paths that import one of the packages."""
    found = []
    for path in MODULES:
        relative = path.relative_to(PACKAGE).as_posix()
        bad = sorted(name for name in imports_of(path) if is_within(name, packages))
        if bad and not relative.startswith(allowed):
            found.append(f'{relative}: {bad}')
    return found


@pytest.mark.parametrize(('source', 'names'), [
    ('import vr_ros.msg', {'vr_ros.msg'}),                                   # plain
    ('from vr_ros import msg', {'vr_ros', 'vr_ros.msg'}),                    # through its parent
    ('from vr_ros.msg import A, B', {'vr_ros.msg', 'vr_ros.msg.A', 'vr_ros.msg.B'}),
    ('def f():\n    import torch as t', {'torch'}),                          # inside a function
])
def test_imports_are_seen_in_every_form(source: str, names: set[str]) -> None:
    assert set(imported_by(ast.parse(source))) == names


def test_imports_point_one_way() -> None:
    linter = Path(sys.executable).with_name('lint-imports')
    done = subprocess.run([linter, '--no-cache'], cwd=ROOT, capture_output=True, text=True,
                          timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'kept, 0 broken' in done.stdout


def test_only_convert_imports_the_generated_interfaces() -> None:
    assert offenders(GENERATED, allowed=('nodes/convert.py',)) == []


def test_only_nodes_import_ros() -> None:
    assert offenders(ROS, allowed=('nodes/',)) == []


def test_only_trainers_of_the_training_import_torch() -> None:
    allowed = ('training/trainers/', 'models/', 'pipeline/', 'evaluation/', 'nodes/')
    assert offenders(('torch', 'transformers', 'trl'), allowed) == []


@pytest.mark.parametrize('path', MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_may_be_missing_is_not_imported_at_module_level(path: Path) -> None:
    body = ast.parse(path.read_text(encoding='utf-8')).body
    plain = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name for node in plain for name in imported_by(node)}
    assert not [name for name in names if is_within(name, OPTIONAL)]


@pytest.mark.parametrize('path', MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text(encoding='utf-8').splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize('module', [
    'vr_ros.core.types',
    'vr_ros.core.answer',
    'vr_ros.models.card',
    'vr_ros.pipeline.worker_client',
    'vr_ros.nodes.perception_node',
])
def test_the_node_side_does_not_load_torch(module: str) -> None:
    if module.startswith('vr_ros.nodes'):
        pytest.importorskip('vr_ros.msg', reason='needs the built interfaces: ./run test')
    code = f'import sys, {module}; print("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                          timeout=60, check=True)
    assert done.stdout.strip() == 'False'
