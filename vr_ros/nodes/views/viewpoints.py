"""How an image was taken: looked up when its depth is there, sent along with it."""
from __future__ import annotations

import re
from collections.abc import Callable

from vr_ros.core.cdr import CdrHeader
from vr_ros.nodes.cameras import Camera
from vr_ros.nodes.parameters import PerceptionParameters
from vr_ros.nodes.views.transforms import NoTransform, TransformAt
from vr_ros.pipeline.protocol import Viewpoint

_TRANSPORTS = ('compressed', 'compressedDepth')
# As image_proc and drivers name what they have rectified: image_rect_color, rect/image.
_RECTIFIED = re.compile(r'(.*_)?rect(ified)?(_.*)?')


class Viewpoints:
    """Looks up, at the stamp of an image, which way is up and how its depth camera stands."""

    def __init__(self, transform_at: TransformAt,
                 parameters: Callable[[], PerceptionParameters]) -> None:
        self._transform_at, self._parameters = transform_at, parameters

    def of(self, camera: Camera, header: CdrHeader,
           depth_frame_id: str) -> tuple[Viewpoint, str]:
        """Look up what there is about an image.

        :param header: of the image.
        :param depth_frame_id: of the depth image that goes with it.
        :return: what is known, and in one line what is not; '' when nothing is missing.
        """
        values, missing = self._parameters(), []
        up: tuple[float, ...] = ()
        depth_to_image: tuple[float, ...] = ()
        if values.gravity_frame:
            found = self._transform_at(header.frame_id, values.gravity_frame, header.stamp)
            if isinstance(found, NoTransform):
                missing.append(f'boxes stand as their support does: {found.reason}')
            else:
                up = tuple(map(float, found.matrix[:3, 2]))
        if depth_frame_id != header.frame_id:
            found = self._transform_at(header.frame_id, depth_frame_id, header.stamp)
            if isinstance(found, NoTransform):
                missing.append(f'the depth is not registered to the image: {found.reason}')
            else:
                depth_to_image = tuple(map(float, found.matrix.ravel()))
        rectified = is_rectified(camera.topic) if values.rectified == 'auto' else (
            values.rectified == 'always')
        return (Viewpoint(rectified, is_rectified(camera.depth_topic), up, depth_to_image),
                '; '.join(missing))


def is_rectified(topic: str) -> bool:
    """Tell by its name whether images on a topic are rectified, as image_proc names them."""
    parts = [part for part in topic.split('/') if part not in _TRANSPORTS]
    return any(_RECTIFIED.fullmatch(part) for part in parts[-2:])
