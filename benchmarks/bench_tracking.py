"""Follow objects through moving scenes: ids, masks and frame rate, against answering every frame.

Both ways see the same held-out scenes in the same run. Answers take as long as --latency says, in
frames of the scene's own clock; how long they really take is measured beside it.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time

from _tracking_runs import Outcome, Reasoner, TrueBoxes, fast_and_slow, still
from _tracking_stream import differing_masks, rate_while_reasoning, stream
from rich.console import Console

from vr_ros.core.types import PerceptionError
from vr_ros.evaluation.claims import Claim, print_claims, write_claims
from vr_ros.evaluation.tracking import TrackScore, score_tracks
from vr_ros.models.video_memory import VideoMemory
from vr_ros.pipeline.perceiver import Perceiver
from vr_ros.sim.motion import MovingScene

FIRST_SEED = 1_000_000
RATE_HZ = 15.0
COMPARED_OBJECTS = (1, 2)


def options_from(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--json', metavar='FILE', help='write the claims there')
    parser.add_argument('--model', default='sim_tiny', help='model card')
    parser.add_argument('--seed', type=int, default=FIRST_SEED, help='of the first scene')
    parser.add_argument('--scenes', type=int, default=8, help='0: only the long run')
    parser.add_argument('--frames', type=int, default=48, help='per scene, at 15 Hz')
    parser.add_argument('--period', type=int, default=15, help='frames between two answers')
    parser.add_argument('--latency', type=int, default=8, help='frames that an answer takes')
    parser.add_argument('--stream', type=int, default=20_000, help='frames of the long run, or 0')
    parser.add_argument('--stream-objects', type=int, default=2, help='at most, in the long run')
    parser.add_argument('--compared', type=int, default=200,
                        help="frames compared with transformers' own session")
    options = parser.parse_args(arguments)
    if min(options.frames, options.period, options.stream_objects) < 1:
        parser.error('--frames, --period and --stream-objects are at least 1')
    if min(options.scenes, options.stream) < 0 or options.scenes + options.stream == 0:
        parser.error('--scenes and --stream are at least 0, and one of them is more')
    return options


def quality(options: argparse.Namespace, perceiver: Perceiver,
            memory: VideoMemory) -> tuple[list[Claim], dict[str, object]]:
    """Run all ways over all scenes."""
    segmenter, first = perceiver.segmenter, options.latency + 1
    assert segmenter is not None, 'what has a memory has a segmenter'
    reasoner, truth = Reasoner(perceiver), TrueBoxes(segmenter)
    runs: dict[str, list[Outcome]] = {}
    for number in range(options.scenes):
        frames = list(MovingScene(options.seed + number, options.frames, RATE_HZ))
        following = (segmenter, memory, frames, RATE_HZ, first, options.period, options.latency)
        for name, outcome in {
            'tracked': fast_and_slow(reasoner, *following),
            'every frame': still(reasoner, frames, RATE_HZ, first),
            'tracked, true boxes': fast_and_slow(truth, *following),
            'every frame, true boxes': still(truth, frames, RATE_HZ, first),
        }.items():
            runs.setdefault(name, []).append(outcome)
    claims, details = [], {}
    for name, outcomes in runs.items():
        score = score_tracks([outcome.frames for outcome in outcomes])
        rate_hz = 1e3 / statistics.median(ms for outcome in outcomes for ms in outcome.frame_ms)
        claims += _claims(name, score, rate_hz)
        details[name] = {'recall': score.recall, 'precision': score.precision,
                         'objects': score.objects}
    joins = [ms for outcome in runs['tracked'] for ms in outcome.answer_ms]
    claims.append(Claim('tracked: an answer catches up, median', statistics.median(joins), 'ms',
                        better='lower'))
    return claims, details


def _claims(name: str, score: TrackScore, rate_hz: float) -> list[Claim]:
    return [
        Claim(f'{name}: MOTA', score.mota), Claim(f'{name}: IDF1', score.idf1),
        Claim(f'{name}: id switches', score.switches, 'switches', better='lower'),
        Claim(f'{name}: mask IoU per object and frame', score.mask_iou),
        Claim(f'{name}: frames per second', rate_hz, 'Hz'),
    ]


def endless(options: argparse.Namespace, perceiver: Perceiver, memory: VideoMemory) -> list[Claim]:
    """Stream one scene to and fro."""
    segmenter = perceiver.segmenter
    assert segmenter is not None, 'what has a memory has a segmenter'
    frames = list(MovingScene(options.seed, 24, RATE_HZ))
    seeds = [target.mask for target in frames[0].truth.targets]
    masks = seeds[:options.stream_objects]
    run = stream(memory, segmenter, frames, masks, options.stream)
    sizes = run.bytes_after
    claims = [
        Claim(f'stream: bytes stored after {max(sizes)} frames over those after {min(sizes)}',
              sizes[max(sizes)] / sizes[min(sizes)], 'x', 1.0, 'lower'),
        Claim(f'stream: bytes stored, {len(masks)} objects', sizes[max(sizes)] / 1e6, 'MB',
              better='lower'),
        Claim('stream: time per step at the end over that at the beginning',
              run.step_ms[1] / run.step_ms[0], 'x', better='lower'),
        Claim(f'stream: time per step, {len(masks)} objects', run.step_ms[1], 'ms',
              better='lower'),
    ]
    for count in COMPARED_OBJECTS:
        differing, pixels, compared = differing_masks(
            memory, segmenter, frames, seeds[:count], options.compared)
        claims += [
            Claim(f'masks that differ from those of the session that keeps everything, {count} '
                  f'object(s), of {compared}', differing, 'masks', 0, 'lower'),
            Claim(f'pixels in which they differ, {count} object(s)', pixels, 'px', 0, 'lower'),
        ]
    rates = rate_while_reasoning(perceiver, memory, segmenter, frames, masks, 10.0)
    names = ('tracked frames, alone', 'tracked frames, while the reasoner decodes',
             'answers, alone', 'answers, while frames are tracked')
    return claims + [Claim(f'{name}, {len(masks)} objects', rate, 'Hz')
                     for name, rate in zip(names, rates, strict=True)]


def main() -> int:
    """Measure, print, write; return the exit status."""
    options, started = options_from(), time.perf_counter()
    try:
        perceiver = Perceiver.from_card(options.model)
        assert perceiver.segmenter is not None
        memory = VideoMemory(perceiver.segmenter)
    except PerceptionError as error:
        print(f'bench tracking: {error}', file=sys.stderr)
        return 2
    claims, details = quality(options, perceiver, memory) if options.scenes else ([], {})
    claims += endless(options, perceiver, memory) if options.stream else []
    print_claims(claims, f'{options.scenes} moving scenes of {options.frames} frames, and a '
                 f'stream of {options.stream}', Console(width=120))
    if options.json:
        write_claims(options.json, claims, seed=options.seed,
                     seconds=time.perf_counter() - started,
                     details={'ways': details, 'options': {
                         name: value for name, value in vars(options).items() if name != 'json'}})
    return 0


if __name__ == '__main__':
    sys.exit(main())
