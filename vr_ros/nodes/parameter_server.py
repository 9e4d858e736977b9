"""Declares a parameter table on a node, checks what is set, and hands out the values."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from vr_ros.core.spelling import nearest
from vr_ros.nodes.parameter_spec import (
    Applies,
    ParameterError,
    Spec,
    coerce,
    problem,
    range_text,
    specs,
)
from vr_ros.nodes.safely import safely

Table = TypeVar('Table')

# What rclpy itself declares, or leaves to others.
_FOREIGN = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')
_HIGHEST_INT = 2**63 - 1
_HIGHEST_FLOAT = 1.7e308


class ParameterServer(Generic[Table]):
    """The parameters of one node.

    :param table: a dataclass of `parameter` fields.
    :param may_configure: whether what applies at configure may be set now.
    :param on_change: called after parameters were set.
    :raises ParameterError: a value from outside cannot be used, or is unknown and the node strict.
    """

    def __init__(self, node: Node, table: type[Table],
                 may_configure: Callable[[], bool] = lambda: True,
                 on_change: Callable[[], None] = lambda: None) -> None:
        self._node, self._table, self._may_configure = node, table, may_configure
        self._on_change = on_change
        self._specs = {spec.name: spec for spec in specs(table)}
        self._values: Table | None = None
        for spec in self._specs.values():
            self._declare(spec)
        self._report_unknown()
        node.add_on_set_parameters_callback(safely(node, self._check, SetParametersResult(
            successful=False, reason="an error within the node; the node's log has more")))
        node.add_post_set_parameters_callback(self._forget)

    @property
    def values(self) -> Table:
        """The values as they are now."""
        if self._values is None:
            self._values = self._table(**{
                spec.name: coerce(spec, self._node.get_parameter(spec.name).value)
                for spec in self._specs.values()})
        return self._values

    def _declare(self, spec: Spec) -> None:
        override = self._overrides.get(spec.name)
        if override is not None:
            value = coerce(spec, override.value)
            wrong = problem(spec, value)
            if wrong:
                raise ParameterError(f'parameter {wrong}')
            # rclpy takes no 2 for a 2.0.
            self._overrides[spec.name] = Parameter(spec.name, value=_plain(value))
        try:
            self._node.declare_parameter(spec.name, _plain(spec.default), _descriptor(spec))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ParameterError(f'parameter {spec.name}: {error}') from error

    @property
    def _overrides(self) -> dict[str, Parameter]:
        # rclpy has no public way to ask which parameters were given but not declared.
        overrides: dict[str, Parameter] = self._node._parameter_overrides
        return overrides

    def _report_unknown(self) -> None:
        strict = self._node.has_parameter('strict_parameters') and self._node.get_parameter(
            'strict_parameters').value
        for name in self._overrides:
            if name in self._specs or name.startswith(_FOREIGN):
                continue
            close = nearest(name, self._specs)
            line = f'unknown parameter {name}' + (f': did you mean {close}?' if close else '')
            if strict:
                raise ParameterError(f'{line} (strict_parameters is true)')
            self._node.get_logger().warning(f'{line}; it has no effect')

    def _check(self, changes: Sequence[Parameter]) -> SetParametersResult:
        for change in changes:
            spec = self._specs.get(change.name)
            if spec is None:
                continue
            wrong = problem(spec, coerce(spec, change.value))
            if not wrong and spec.applies is Applies.CONFIGURE and not self._may_configure():
                wrong = (f'{spec.name} takes effect {spec.applies.value}: deactivate and clean up '
                         'the node first')
            if wrong:
                return SetParametersResult(successful=False, reason=wrong)
        return SetParametersResult(successful=True)

    def _forget(self, _: Sequence[Parameter]) -> None:
        self._values = None
        self._on_change()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _descriptor(spec: Spec) -> ParameterDescriptor:
    unit = f' [{spec.unit}]' if spec.unit else ''
    descriptor = ParameterDescriptor(
        description=f'{spec.description}{unit}; takes effect {spec.applies.value}',
        additional_constraints=range_text(spec) if spec.choices else '',
        read_only=spec.applies is Applies.START)
    if spec.low is None and spec.high is None:
        return descriptor
    if spec.kind == 'int':
        low = -_HIGHEST_INT if spec.low is None else int(spec.low)
        high = _HIGHEST_INT if spec.high is None else int(spec.high)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    else:
        low_f = -_HIGHEST_FLOAT if spec.low is None else float(spec.low)
        high_f = _HIGHEST_FLOAT if spec.high is None else float(spec.high)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low_f, to_value=high_f)]
    return descriptor
