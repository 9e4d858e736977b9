"""Boxes and points out of almost-JSON: whole, cut off, or broken as language models break it."""
from __future__ import annotations

from vr_ros.core.json_tokens import Scalar, Tokenizer
from vr_ros.core.object_draft import ROLES, Draft, ParserLimits, Role, key_name, numbers_in
from vr_ros.core.types import ParsedObject


class _Frame:
    """An open bracket, or the text around all brackets.

    A list is one of: the value of a role (owner set), the value of a key that means nothing
    (ignored), or a list of objects or bare boxes.
    """

    def __init__(self, bracket: str, start: int, *, prose: bool = False,
                 owner: Draft | None = None, role: Role | None = None,
                 ignored: bool = False) -> None:
        self.bracket = bracket
        self.prose = prose
        self.owner = owner
        self.role = role
        self.ignored = ignored
        self.draft = Draft(start)
        self.keyed = False
        self.awaits_value = False
        self.in_scalars = False
        self.children = 0
        self.bare: list[float | None] = []

    @property
    def is_value_list(self) -> bool:
        return self.owner is not None or self.ignored

    def become_list_of_objects(self) -> None:
        """Take back that an empty list is the value of a key, as in `box: [{…}]`."""
        if self.owner is None or self.children or self.owner.numbers.get(self.role):
            return
        self.owner.numbers.pop(self.role, None)
        self.owner = self.role = None


class ObjectReader:
    """Read objects from almost-JSON, one character at a time, in time linear in the text.

    What cannot be an object is skipped and remembered in `damaged`; one whose box is whole
    is kept, whatever happened around it. Commas and the difference of [] and () mean nothing here.
    """

    def __init__(self, limits: ParserLimits) -> None:
        self.objects: list[ParsedObject] = []
        self.limit_reached = False
        self.duplicates = 0
        self.unread = 0
        self.damaged = False
        self.attempted = False
        self.steps = 0
        self._limits = limits
        self._seen: set[tuple[float, ...]] = set()
        self._frames = [_Frame('', 0, prose=True)]
        self._open_braces = 0
        self._skipped_depth = 0
        self._saw_empty_list = False
        self._saw_value = False
        self._saw_prose = False
        self._tokenizer = Tokenizer(self)

    @property
    def is_empty_list(self) -> bool:
        """Whether all there is is an empty list, cleanly written."""
        return self._saw_empty_list and not (self.objects or self.damaged or self._saw_value)

    @property
    def in_prose(self) -> bool:
        return self._frames[-1].prose and not self._skipped_depth

    def put(self, char: str, at: int) -> None:
        """Take the next character; `at` is its offset in the whole text."""
        self.steps += 1
        self._tokenizer.put(char, at)

    def finish(self, at: int) -> None:
        """Take the end of the text: keep objects whose box is whole, drop half-written values."""
        while len(self._frames) > 1:
            self.steps += 1
            frame = self._frames.pop()
            self.damaged |= not frame.prose
            if frame.keyed:
                self._keep(frame.draft, at)
        if self._frames[0].draft.box() is not None:
            self._keep(self._frames[0].draft, at)

    def is_known_key(self, text: str) -> bool:
        return key_name(text) in ROLES

    def key(self, scalar: Scalar) -> None:
        if self._skipped_depth:
            return
        while self._frames[-1].is_value_list:
            self._repair(scalar.start)
        frame = self._frames[-1]
        name = key_name(scalar.text)
        role = ROLES.get(name)
        self.damaged |= role is not None and name != scalar.text.strip('"\'\\ ').lower()
        self._end_scalars(frame)
        if role is Role.BOX and frame.draft.has(Role.BOX):
            self._keep(frame.draft, scalar.start)
            self.damaged = True
            frame.draft = Draft(scalar.start)
        elif not frame.draft.numbers and frame.bracket != '{':
            frame.draft.start = scalar.start
        frame.role = None if role and frame.draft.has(role) else role
        frame.keyed |= not frame.prose or (role is Role.BOX and frame.bracket != '')
        frame.awaits_value = True

    def value(self, scalar: Scalar) -> None:
        frame = self._frames[-1]
        self._saw_value |= not frame.prose
        self._saw_prose |= frame.prose and scalar.text.lower() != 'json'
        if self._skipped_depth or frame.ignored:
            return
        if frame.owner is not None and frame.role is not None:
            frame.owner.add(frame.role, scalar)
        elif frame.bracket == '[' and not frame.keyed:
            frame.bare += numbers_in(scalar) or [None]
        else:
            frame.in_scalars |= frame.awaits_value
            frame.awaits_value = False
            if frame.in_scalars and frame.role is not None:
                frame.draft.add(frame.role, scalar)

    def separator(self) -> None:
        if self._frames[-1].role is Role.LABEL:
            self._end_scalars(self._frames[-1])

    def open(self, bracket: str, at: int) -> None:
        self.attempted |= bracket != '(' and not self._saw_prose and len(self._frames) == 1
        if self._skipped_depth or len(self._frames) > self._limits.max_depth:
            self._skipped_depth += 1
            self.damaged = True
        elif bracket == '{':
            self._open_object(at)
        else:
            self._open_list(bracket, at)

    def close(self, bracket: str, at: int) -> None:
        if self._skipped_depth:
            self._skipped_depth -= 1
            return
        frame = self._frames[-1]
        if bracket == '[' and frame.bracket == '{' and frame.in_scalars:
            self._end_scalars(frame)
            self.damaged = True
            return
        if bracket == '{' and not self._open_braces:
            bracket = '['
            self.damaged |= frame.bracket != ''
        if bracket == '[' and len(self._frames) - 1 == self._open_braces:
            return
        while self._frames[-1].bracket != bracket:
            self._repair(at)
        self._pop(at + 1)

    def _open_object(self, at: int) -> None:
        self._frames[-1].become_list_of_objects()
        while self._frames[-1].owner is not None:
            self._repair(at)
        parent = self._frames[-1]
        if parent.bracket == '{' and parent.keyed and not parent.awaits_value:
            self._repair(at)
            parent = self._frames[-1]
        parent.children += 1
        parent.awaits_value = False
        self._open_braces += 1
        self._frames.append(_Frame('{', at))

    def _open_list(self, bracket: str, at: int) -> None:
        parent = self._frames[-1]
        prose = parent.prose and bracket == '('
        role = parent.role if parent.awaits_value or parent.owner is not None else None
        if role is Role.LABEL and parent.prose:
            role = None
        ignored = parent.ignored or (parent.bracket == '{' and role is None)
        self.damaged |= ignored and not (parent.ignored or parent.awaits_value)
        self.attempted |= role is not None and not prose
        owner = (parent.owner or parent.draft) if role is not None else None
        parent.children += 1
        parent.awaits_value = False
        self._frames.append(_Frame('[', at, prose=prose, owner=owner, role=role, ignored=ignored))

    def _repair(self, at: int) -> None:
        """Close the innermost bracket, whose own closing bracket is missing."""
        self.damaged = True
        self._pop(at)

    def _pop(self, end: int) -> None:
        self.steps += 1
        frame = self._frames.pop()
        self._end_scalars(frame)
        if frame.bracket == '{':
            self._open_braces -= 1
        if frame.owner is not None and frame.role is not None:
            if self._frames[-1].owner is not frame.owner:
                frame.owner.closed.add(frame.role)
        elif frame.bracket == '{' or frame.keyed:
            is_wrapper = frame.children and not (frame.draft.numbers or frame.draft.closed)
            self.damaged |= frame.bracket != '{' and not frame.prose
            if not is_wrapper:
                self._keep(frame.draft, end)
        elif len(frame.bare) == 4 and None not in frame.bare and not frame.children:
            frame.draft.numbers[Role.BOX] = frame.bare
            frame.draft.closed.add(Role.BOX)
            self._keep(frame.draft, end)
        elif not frame.prose:
            self.damaged |= bool(frame.bare)
            self._saw_empty_list |= not frame.bare

    def _end_scalars(self, frame: _Frame) -> None:
        if frame.in_scalars and frame.role is not None and frame.owner is None:
            frame.draft.closed.add(frame.role)
        frame.in_scalars = False

    def _keep(self, draft: Draft, end: int) -> None:
        found, clean = draft.build(end, self._limits)
        self.damaged |= not clean
        if found is None:
            self.unread += 1
            return
        identity = (*found.box, *found.point)
        if identity in self._seen:
            self.duplicates += 1
        elif len(self.objects) >= self._limits.max_objects:
            self.limit_reached = True
            self.unread += 1
        else:
            self._seen.add(identity)
            self.objects.append(found)
