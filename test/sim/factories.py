"""Hand-made frames: the truth without the rendering."""

from __future__ import annotations

from hypothesis import strategies as st

from vr_ros.core.types import Mask, Size
from vr_ros.sim.truth import COLOURS, KINDS, SIZES, FrameTruth, ObjectTruth

IMAGE = Size(640, 480)


def make_object(
    id_: int,
    words: str,
    x: float = 320.0,
    y: float = 240.0,
    distance_m: float = 1.0,
    visible_fraction: float = 1.0,
    extent: float = 40.0,
    at: tuple[float, float, float] | None = None,
) -> ObjectTruth:
    """Make an object from words such as 'small red cube', centred at x, y pixels.

    :param at: world position, metres; by default as far apart as the pixels are.
    """
    size_name, colour, kind = words.split()
    half = extent / 2
    return ObjectTruth(
        id=id_,
        kind=kind,
        colour=colour,
        size_name=size_name,
        box=(x - half, y - half, x + half, y + half),
        point=(x, y),
        mask=Mask(IMAGE, (IMAGE.width * IMAGE.height,)),
        visible_fraction=visible_fraction,
        distance_m=distance_m,
        surface_point=(0.0, 0.0, distance_m),
        center=(0.0, 0.0, distance_m),
        orientation=(0.0, 0.0, 0.0, 1.0),
        dimensions=(0.05, 0.05, 0.05),
        world_position=at if at is not None else (x / 1000, distance_m, 0.0),
    )


def make_frame(*objects: ObjectTruth, seed: int = 0) -> FrameTruth:
    return FrameTruth(
        seed, IMAGE, objects, (500.0, 500.0, 320.0, 240.0), (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    )


@st.composite
def frames(draw: st.DrawFn, min_objects: int = 0, max_objects: int = 10) -> FrameTruth:
    """Draw frames with hidden and tiny objects among the others, and ids in no order."""
    ids = draw(
        st.lists(st.integers(1, 99), min_size=min_objects, max_size=max_objects, unique=True)
    )
    coordinate = st.floats(0.0, 1.0)
    return make_frame(
        *[
            make_object(
                id_,
                ' '.join(
                    (
                        draw(st.sampled_from(SIZES)),
                        draw(st.sampled_from(COLOURS[:4])),
                        draw(st.sampled_from(KINDS)),
                    )
                ),
                x=20 + 600 * draw(coordinate),
                y=20 + 440 * draw(coordinate),
                distance_m=0.5 + draw(coordinate),
                visible_fraction=draw(st.sampled_from((1.0, 0.6, 0.3, 0.2))),
                extent=draw(st.sampled_from((60.0, 30.0, 14.0, 8.0))),
            )
            for id_ in ids
        ]
    )
