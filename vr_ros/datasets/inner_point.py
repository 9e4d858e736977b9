"""A point deep inside a mask: where VisionReasoner points."""
from __future__ import annotations

import cv2
import numpy as np

from vr_ros.core.rle import rle_box, rle_to_mask
from vr_ros.core.types import Mask


def inner_point(mask: Mask) -> tuple[int, int] | None:
    """Find the pixel that is farthest from the edge of a mask; the image's border is an edge.

    Of several that are, those of the largest part of the mask, and of these the most central one:
    it always lies in the mask.

    :return: x, y in whole pixels; None if the mask is empty.
    Source: VisionReasoner's data preparation: the maximum of the distance transform.
    """
    box = rle_box(mask)
    if box is None:
        return None
    left, top, right, bottom = box
    pixels = rle_to_mask(mask)[top:bottom, left:right].astype(np.uint8)
    distance = cv2.distanceTransform(
        np.pad(pixels, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # Rounded, because the last bit differs from call to call.
    distance = distance.round(2)
    deepest = distance == distance.max()
    if np.count_nonzero(deepest) > 1:
        _, parts = cv2.connectedComponents(pixels)
        areas = np.bincount(parts[pixels > 0])
        found = np.unique(parts[deepest])
        deepest &= parts == found[areas[found].argmax()]
    rows, columns = np.nonzero(deepest)
    off_centre = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    chosen = int(off_centre.argmin())
    return int(left + columns[chosen]), int(top + rows[chosen])
