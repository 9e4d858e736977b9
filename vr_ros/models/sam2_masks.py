"""From the mask decoder's logits to masks of the camera image, each only where it is."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vr_ros.core.types import Size


@dataclass(frozen=True)
class MaskCrop:
    """The part of an image that holds a mask.

    :param pixels: (h, w) bool; everything outside is False. Empty when nothing is True.
    :param x, y: the crop's first column and row in the image.
    """

    pixels: np.ndarray
    x: int
    y: int


class _Axis:
    """Bilinear interpolation along one axis, corners not aligned, as torch and SAM 2 do it.

    Output pixel i is the mean of the input pixels ``low[i]`` and ``high[i]``, with their weights.
    """

    def __init__(self, source: int, target: int, device: torch.device) -> None:
        ratio = np.float32(source) / np.float32(target)
        position = ratio * (np.arange(target, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
        position = np.maximum(position, np.float32(0))
        low = np.minimum(np.floor(position).astype(np.int64), source - 1)
        self.low = low
        self.high = np.minimum(low + 1, source - 1)
        fraction = torch.from_numpy(np.clip(position - low.astype(np.float32), 0, 1)).to(device)
        self.low_weight, self.high_weight = 1 - fraction, fraction
        self.low_index = torch.from_numpy(self.low).to(device)
        self.high_index = torch.from_numpy(self.high).to(device)

    def touched(self, first: int, last: int) -> slice:
        """:return: output pixels that read any of the input pixels first..last."""
        start = np.searchsorted(self.high, first, 'left')
        stop = np.searchsorted(self.low, last, 'right')
        return slice(int(start), int(stop))


def crop_masks(logits: torch.Tensor, size: Size) -> list[MaskCrop]:
    """Upsample logits bilinearly and threshold them at 0, each mask only where it can be positive.

    An upsampled logit is a weighted mean of four neighbours, so it can be positive only where one
    of them is: the result equals that of upsampling the whole frame, pixel by pixel.

    :param logits: (N, h, w) float32 on any device.
    :param size: width and height of the camera image.
    :return: N crops. The device is waited for twice, however many masks there are.
    """
    count, height, width = logits.shape
    columns = _Axis(width, size.width, logits.device)
    rows = _Axis(height, size.height, logits.device)
    regions: list[tuple[slice, slice]] = []
    pieces: list[torch.Tensor] = []
    for mask, (top, bottom, left, right) in zip(logits, _extents(logits), strict=True):
        if bottom < top:
            regions.append((slice(0, 0), slice(0, 0)))
            continue
        region = rows.touched(top, bottom), columns.touched(left, right)
        regions.append(region)
        pieces.append((_upsample(mask, rows, columns, *region) > 0).flatten())
    flat = torch.cat(pieces).cpu().numpy() if pieces else np.zeros(0, bool)
    crops, start = [], 0
    for y, x in regions:
        shape = (y.stop - y.start, x.stop - x.start)
        stop = start + shape[0] * shape[1]
        crops.append(MaskCrop(flat[start:stop].reshape(shape), x.start, y.start))
        start = stop
    return crops


def _extents(logits: torch.Tensor) -> list[list[int]]:
    """Find where masks are positive.

    :return: per mask its first and last row, first and last column; last < first when empty.
    """
    positive = logits > 0
    bounds = []
    for line in (positive.any(2), positive.any(1)):
        index = torch.arange(line.shape[1], device=line.device)
        bounds.append(torch.where(line, index, line.shape[1]).amin(1))
        bounds.append(torch.where(line, index, -1).amax(1))
    return torch.stack(bounds, 1).tolist()


def _upsample(mask: torch.Tensor, rows: _Axis, columns: _Axis, y: slice, x: slice) -> torch.Tensor:
    """:return: (y, x) part of the upsampled logits, in the order of operations that torch uses."""
    first, last = int(rows.low[y.start]), int(rows.high[y.stop - 1])
    band = mask[first:last + 1]
    band = (
        band[:, columns.low_index[x]] * columns.low_weight[x]
        + band[:, columns.high_index[x]] * columns.high_weight[x]
    )
    return (
        band[rows.low_index[y] - first] * rows.low_weight[y, None]
        + band[rows.high_index[y] - first] * rows.high_weight[y, None]
    )
