"""Whatever happens in whatever order, each instruction gets its one result per camera."""
from __future__ import annotations

from collections import Counter

from dispatching import Bench
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vr_ros.core.types import Mode, Perception, Status
from vr_ros.pipeline import protocol
from vr_ros.pipeline.worker_state import WorkerState

CAMERAS = ('left', 'right')
MAX_AGE_S = 2.0


class Operation(RuleBasedStateMachine):
    """An operator, two cameras and a worker that do what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(*CAMERAS, queue_size=4, default_deadline=5.0, max_image_age=MAX_AGE_S)
        self.expected: Counter[str] = Counter()
        self.started: set[int] = set()
        self.count = 0

    @rule(mode=st.sampled_from((Mode.ONCE, Mode.CONTINUOUS)), priority=st.integers(0, 2),
          cameras=st.sampled_from(((), ('left',), ('right',), ('left', 'right'), ('typo',))))
    def tell(self, mode: Mode, priority: int, cameras: tuple[str, ...]) -> None:
        self.count += 1
        name = f'i{self.count}'
        self.expected[name] = self.bench.tell(name, mode=mode, priority=priority, cameras=cameras)

    @rule(name=st.integers(0, 30), cameras=st.sampled_from(((), ('left',))))
    def stop(self, name: int, cameras: tuple[str, ...]) -> None:
        self.bench.tell(f'i{name}' if name else '', mode=Mode.STOP, cameras=cameras)

    @rule(camera=st.sampled_from(CAMERAS), age_s=st.sampled_from((0.0, 1.0, 3.0)))
    def show(self, camera: str, age_s: float) -> None:
        self.bench.show(camera, age_s)

    @rule(seconds=st.sampled_from((0.1, 1.0, 4.0)))
    def wait(self, seconds: float) -> None:
        self.bench.advance(seconds)

    @precondition(lambda self: self.bench.worker.requests)
    @rule(back=st.integers(1, 3))
    def begin(self, back: int) -> None:
        request = self.bench.worker.requests[-back:][0]
        self.started.add(request.id)
        self.bench.dispatcher.on_worker(protocol.Started(request.id))

    @precondition(lambda self: self.bench.worker.requests)
    @rule(back=st.integers(1, 3), status=st.sampled_from((
        Status.OK, Status.NO_OBJECT, Status.MODEL_ERROR, Status.TIMEOUT, Status.CANCELLED)))
    def answer(self, back: int, status: Status) -> None:
        request = self.bench.worker.requests[-back:][0]
        self.bench.dispatcher.on_worker(protocol.Result(request.id, Perception(status)))

    @rule(state=st.sampled_from((WorkerState.READY, WorkerState.READY, WorkerState.FAILED)))
    def health(self, state: WorkerState) -> None:
        self.bench.set_worker(state)

    @rule()
    def die(self) -> None:
        self.bench.set_worker(WorkerState.RESTARTING)
        for request in self.bench.worker.requests[-1:]:
            self.bench.dispatcher.on_worker(protocol.Result(
                request.id, Perception(Status.WORKER_RESTARTING)))

    @rule()
    def deactivate_and_activate(self) -> None:
        self.bench.dispatcher.deactivate()
        assert self.bench.is_idle
        self.bench.dispatcher.activate()

    @invariant()
    def no_job_ends_twice_or_goes_on_after_its_end(self) -> None:
        ended: set[tuple[str, str]] = set()
        for answer in self.bench.answers:
            key = answer.job.instruction.id, answer.job.camera
            assert key not in ended
            if answer.ended:
                ended.add(key)

    @invariant()
    def results_are_numbered_without_gaps(self) -> None:
        numbers: dict[tuple[str, str], list[int]] = {}
        for answer in self.bench.answers:
            numbers.setdefault((answer.job.instruction.id, answer.job.camera), []).append(
                answer.sequence)
        assert all(found == list(range(len(found))) for found in numbers.values())

    @invariant()
    def nobody_waits_beyond_the_deadline(self) -> None:
        assert self.bench.dispatcher.wake_at >= self.bench.now

    @invariant()
    def stale_frames_are_never_looked_at(self) -> None:
        assert all(abs(request.age_s) <= MAX_AGE_S for request in self.bench.worker.requests)

    def teardown(self) -> None:
        self.bench.dispatcher.deactivate()
        ended = Counter(answer.job.instruction.id for answer in self.bench.answers if answer.ended)
        assert ended == +self.expected
        assert self.bench.is_idle


TestOperation = Operation.TestCase
TestOperation.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
