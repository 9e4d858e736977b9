"""Others build on the interfaces: their fields, types, constants and encoding stay as they are."""
from __future__ import annotations

import importlib
import math
import os
import re
from array import array
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from vr_ros.core import types

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('vr_ros.msg', reason='needs the built interfaces: ./run test')
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402

from vr_ros import action, msg, srv  # noqa: E402

ROOT = Path(__file__).parents[2]

FIELDS = {
    'Instruction': {
        'header': 'std_msgs/Header',
        'id': 'string',
        'text': 'string',
        'task': 'uint8',
        'mode': 'uint8',
        'cameras': 'sequence<string>',
        'priority': 'uint8',
        'deadline': 'builtin_interfaces/Duration',
    },
    'Mask': {'height': 'uint32', 'width': 'uint32', 'counts': 'sequence<uint32>'},
    'Detection': {
        'index': 'uint32',
        'track_id': 'string',
        'track_state': 'uint8',
        'last_seen': 'builtin_interfaces/Time',
        'label': 'string',
        'score': 'float',
        'score_source': 'uint8',
        'x_min': 'float',
        'y_min': 'float',
        'x_max': 'float',
        'y_max': 'float',
        'has_point': 'boolean',
        'point_x': 'float',
        'point_y': 'float',
        'has_mask': 'boolean',
        'mask': 'vr_ros/Mask',
        'mask_score': 'float',
        'area_px': 'uint32',
        'position_status': 'uint8',
        'surface_point': 'geometry_msgs/Point',
        'center_pose': 'geometry_msgs/Pose',
        'size': 'geometry_msgs/Vector3',
        'position_stddev_m': 'float',
    },
    'Outcome': {
        'instruction_id': 'string',
        'instruction_text': 'string',
        'camera': 'string',
        'task': 'uint8',
        'model_id': 'string',
        'status': 'uint16',
        'status_message': 'string',
        'is_final': 'boolean',
        'sequence': 'uint32',
        'source': 'uint8',
        'instruction_stamp': 'builtin_interfaces/Time',
        'reasoned_stamp': 'builtin_interfaces/Time',
        'image_width': 'uint32',
        'image_height': 'uint32',
        'timing': 'vr_ros/Timing',
    },
    'Timing': {
        'image_age_ms': 'float',
        'queue_ms': 'float',
        'preprocess_ms': 'float',
        'first_token_ms': 'float',
        'generate_ms': 'float',
        'segment_ms': 'float',
        'total_ms': 'float',
        'prompt_tokens': 'uint32',
        'completion_tokens': 'uint32',
        'frames_dropped': 'uint32',
    },
    'DetectionArray': {
        'header': 'std_msgs/Header',
        'outcome': 'vr_ros/Outcome',
        'count': 'int32',
        'detections': 'sequence<vr_ros/Detection>',
    },
    'Count': {'header': 'std_msgs/Header', 'outcome': 'vr_ros/Outcome', 'count': 'int32'},
    'MaskArray': {
        'header': 'std_msgs/Header',
        'outcome': 'vr_ros/Outcome',
        'indices': 'sequence<uint32>',
        'track_ids': 'sequence<string>',
        'masks': 'sequence<vr_ros/Mask>',
    },
    'Answer': {
        'header': 'std_msgs/Header',
        'outcome': 'vr_ros/Outcome',
        'answer': 'string',
        'reasoning': 'string',
        'raw_text': 'string',
        'finish_reason': 'string',
    },
    'Perceive.Goal': {'instruction': 'vr_ros/Instruction'},
    'Perceive.Result': {'detections': 'vr_ros/DetectionArray', 'answer': 'vr_ros/Answer'},
    'Perceive.Feedback': {
        'stage': 'uint8',
        'instruction_id': 'string',
        'camera': 'string',
        'sequence': 'uint32',
        'header': 'std_msgs/Header',
        'new_reasoning': 'string',
        'new_detections': 'sequence<vr_ros/Detection>',
        'detections': 'sequence<vr_ros/DetectionArray, 1>',
        'answer': 'sequence<vr_ros/Answer, 1>',
    },
    'PerceiveImage.Request': {
        'instruction': 'vr_ros/Instruction',
        'image': 'sensor_msgs/CompressedImage',
    },
    'PerceiveImage.Response': {'detections': 'vr_ros/DetectionArray', 'answer': 'vr_ros/Answer'},
}

CONSTANTS = {
    'msg/Instruction.msg': {
        'AUTO': 0, 'DETECTION': 1, 'SEGMENTATION': 2, 'COUNTING': 3, 'VQA': 4,
        'ONCE': 0, 'CONTINUOUS': 1, 'STOP': 2,
    },
    'msg/Detection.msg': {
        'TRACK_NONE': 0, 'TRACK_NEW': 1, 'TRACK_TRACKED': 2, 'TRACK_OCCLUDED': 3, 'TRACK_LOST': 4,
        'SCORE_NONE': 0, 'SCORE_TOKENS': 1, 'SCORE_MARGIN': 2, 'SCORE_EXISTENCE': 3,
        'SCORE_MASK_IOU': 4, 'SCORE_CONSISTENCY': 5, 'SCORE_FUSED': 6,
        'POSITION_NONE': 0, 'POSITION_OK': 1, 'POSITION_NO_DEPTH': 2, 'POSITION_NO_CAMERA_INFO': 3,
        'POSITION_TOO_FEW_PIXELS': 4, 'POSITION_NOT_REGISTERED': 5, 'POSITION_OUT_OF_SYNC': 6,
    },
    'msg/Outcome.msg': {
        'OK': 0, 'NO_OBJECT': 1, 'PARTIAL': 2, 'LIMIT_REACHED': 3, 'SUPERSEDED': 4,
        'PARSE_ERROR': 100, 'MODEL_ERROR': 101, 'TIMEOUT': 102, 'OUT_OF_MEMORY': 103,
        'STALE_IMAGE': 104, 'NO_IMAGE': 105, 'UNSUPPORTED_ENCODING': 106, 'CANCELLED': 107,
        'BAD_INSTRUCTION': 108, 'WORKER_RESTARTING': 109, 'MODEL_LOADING': 110,
        'MODEL_UNAVAILABLE': 111, 'QUEUE_FULL': 112, 'BAD_IMAGE': 113, 'IMAGE_TOO_LARGE': 114,
        'SERVER_UNAVAILABLE': 115, 'NOT_ACTIVE': 116,
        'REASONED': 0, 'TRACKED': 1,
    },
    'action/Perceive.action': {
        'QUEUED': 0, 'WAITING_MODEL': 1, 'WAITING_IMAGE': 2, 'REASONING': 3, 'SEGMENTING': 4,
        'RESULT': 5,
    },
}

INTERFACE_FILES = sorted(
    str(path.relative_to(ROOT)) for path in ROOT.glob('*/*') if path.suffix in
    ('.msg', '.srv', '.action') and path.parent.parent == ROOT
)


def find_class(name: str) -> Any:
    """Look up a message class by the name it has in FIELDS or in a type, as 'pkg/Type'."""
    if '/' in name:
        package, name = name.split('/')
        return getattr(importlib.import_module(f'{package}.msg'), name)
    outer, _, part = name.partition('.')
    holder = next(module for module in (msg, srv, action) if hasattr(module, outer))
    found = getattr(holder, outer)
    return getattr(found, part) if part else found


class Filler:
    """Makes values that differ from each other and from every default."""

    def __init__(self) -> None:
        self._made = 0

    def value(self, kind: str) -> Any:
        sequence = re.fullmatch(r'sequence<(?P<of>[^,>]+)(, (?P<bound>\d+))?>', kind)
        if sequence:
            length = int(sequence['bound'] or 3)
            items = [self.value(sequence['of']) for _ in range(length)]
            return array({'uint8': 'B', 'uint32': 'I'}[sequence['of']], items) \
                if sequence['of'].startswith('uint') else items
        if '/' in kind:
            return self.message(find_class(kind))
        self._made += 1
        if kind == 'boolean':
            return True
        if kind == 'string':
            return f'text {self._made} \u00e4\u4e2d\U0001f916'
        if kind in ('float', 'double'):
            return -0.25 * self._made      # exact in 32 bits
        if kind.startswith('int'):
            return -self._made
        return self._made % 250 + 1        # never 0, fits 8 bits

    def message(self, cls: Any) -> Any:
        fields = cls.get_fields_and_field_types()
        return cls(**{name: self.value(kind) for name, kind in fields.items()})


def assert_differs_from_default(message: Any, default: Any) -> None:
    for name, kind in message.get_fields_and_field_types().items():
        value, plain = getattr(message, name), getattr(default, name)
        if hasattr(value, 'get_fields_and_field_types'):
            assert_differs_from_default(value, plain)
        else:
            assert value != plain, f'{type(message).__name__}.{name} ({kind})'


@pytest.mark.parametrize('name', FIELDS)
def test_fields_and_types_are_pinned(name: str) -> None:
    fields = find_class(name).get_fields_and_field_types()
    # items, not dicts: the order of fields is part of the encoding
    assert list(fields.items()) == list(FIELDS[name].items())


def test_no_interface_is_unpinned() -> None:
    pinned = {name.partition('.')[0] for name in FIELDS}
    assert {Path(path).stem for path in INTERFACE_FILES} == pinned


@pytest.mark.parametrize('name', FIELDS)
def test_every_field_survives_cdr(name: str) -> None:
    assert os.environ['ROS_PYTHON_CHECK_FIELDS'] == '1'
    cls = find_class(name)
    message = Filler().message(cls)
    assert_differs_from_default(message, cls())
    assert deserialize_message(serialize_message(message), cls) == message


def test_defaults_survive_cdr() -> None:
    for name in FIELDS:
        cls = find_class(name)
        assert deserialize_message(serialize_message(cls()), cls) == cls()


def test_no_score_stays_nan() -> None:
    sent = msg.Detection(score=math.nan, mask_score=math.nan)
    received = deserialize_message(serialize_message(sent), msg.Detection)
    assert math.isnan(received.score) and math.isnan(received.mask_score)


@pytest.mark.parametrize(('field', 'value'), [
    ('x_min', 1),            # an int where a float belongs
    ('index', -1),           # below the range
    ('track_state', 256),    # above the range
    ('label', b'red'),       # bytes where text belongs
    ('has_mask', 'yes'),     # text where a truth value belongs
    ('mask', None),          # nothing where a message belongs
])
def test_wrong_types_are_refused_in_tests(field: str, value: object) -> None:
    with pytest.raises(AssertionError):
        setattr(msg.Detection(), field, value)


def test_feedback_carries_at_most_one_result() -> None:
    feedback = action.Perceive.Feedback()
    feedback.detections = [msg.DetectionArray()]
    with pytest.raises(AssertionError):
        feedback.detections = [msg.DetectionArray(), msg.DetectionArray()]


@pytest.mark.parametrize('path', INTERFACE_FILES)
def test_constants_are_pinned(path: str) -> None:
    text = (ROOT / path).read_text(encoding='utf-8')
    written = re.findall(r'^u?int\d+ ([A-Z][A-Z0-9_]*)=(\d+)', text, re.MULTILINE)
    assert {name: int(value) for name, value in written} == CONSTANTS.get(path, {})
    cls = find_class('Perceive.Feedback' if path.endswith('.action') else Path(path).stem)
    for name, value in CONSTANTS.get(path, {}).items():
        assert getattr(cls, name) == value


@pytest.mark.parametrize(('enum', 'path', 'prefix'), [
    (types.Task, 'msg/Instruction.msg', ''),
    (types.Mode, 'msg/Instruction.msg', ''),
    (types.Status, 'msg/Outcome.msg', ''),
    (types.Source, 'msg/Outcome.msg', ''),
    (types.ScoreSource, 'msg/Detection.msg', 'SCORE_'),
    (types.TrackState, 'msg/Detection.msg', 'TRACK_'),
    (types.PositionStatus, 'msg/Detection.msg', 'POSITION_'),
])
def test_enumerations_equal_the_constants(enum: type[IntEnum], path: str, prefix: str) -> None:
    constants = CONSTANTS[path]
    assert {prefix + item.name: item.value for item in enum}.items() <= constants.items()


def test_every_constant_has_its_enumeration() -> None:
    def names(enum: type[IntEnum], prefix: str = '') -> set[str]:
        return {prefix + item.name for item in enum}

    assert names(types.Task) | names(types.Mode) == set(CONSTANTS['msg/Instruction.msg'])
    assert names(types.Status) | names(types.Source) == set(CONSTANTS['msg/Outcome.msg'])
    assert (names(types.ScoreSource, 'SCORE_') | names(types.TrackState, 'TRACK_')
            | names(types.PositionStatus, 'POSITION_')) == set(CONSTANTS['msg/Detection.msg'])


@pytest.mark.parametrize('path', INTERFACE_FILES)
def test_every_field_is_explained(path: str) -> None:
    lines = (ROOT / path).read_text(encoding='utf-8').splitlines()
    for before, line in zip(['', *lines], lines, strict=False):
        declares_field = re.match(r'[A-Za-z]\S* +[a-z]\w*\s*(#.*)?$', line)
        if declares_field and not re.match(r'(Outcome|Timing) ', line):   # explained in their files
            assert '#' in line or before.startswith('# '), line
