"""Binary masks as COCO run lengths: column by column, the first run counts zeros.

Everything but decoding works on the runs, or on the crop inside an object's box, and never
touches the full frame.
Source of the format: COCO's mask API, uncompressed counts.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vr_ros.core.types import Mask, Size


def mask_to_rle(mask: np.ndarray) -> Mask:
    """Encode a full-image mask.

    :param mask: (H, W) bool or uint8; whatever is not zero is set.
    :raises ValueError: if it is not two-dimensional or has no pixels.
    """
    _check_plane(mask)
    return crop_to_rle(mask, 0, 0, Size(mask.shape[1], mask.shape[0]))


def crop_to_rle(crop: np.ndarray, x: int, y: int, size: Size) -> Mask:
    """Encode a full-image mask from the part of it that has pixels set.

    Equal to encoding the full image with the crop pasted into it; the cost is the crop's alone.

    :param crop: (h, w) bool or uint8; whatever is not zero is set. May be empty.
    :param x: column of the crop's left edge in the image, in pixels.
    :param y: row of the crop's top edge in the image, in pixels.
    :param size: width and height of the image in pixels.
    :raises ValueError: if the crop is not two-dimensional or reaches out of the image.
    """
    _check_plane(crop)
    _check_size(size)
    height, width = crop.shape
    if x < 0 or y < 0 or x + width > size.width or y + height > size.height:
        raise ValueError(
            f'crop of {width}x{height} at ({x}, {y}) reaches out of {size.width}x{size.height}')
    changes = _column_changes(crop) if crop.size else np.zeros((1, 1), np.bool_)
    # Sorting the few changes into column order costs less than transposing the many pixels.
    row, column = np.divmod(np.flatnonzero(changes), changes.shape[1])
    positions = (column + x) * size.height + (row + y)
    positions.sort()
    if height == size.height:
        positions = _join_columns(positions)
    return _mask_from_positions(positions, size)


def rle_to_mask(mask: Mask) -> np.ndarray:
    """Decode a mask.

    :return: (H, W) bool, C-contiguous.
    :raises ValueError: if the run lengths do not belong to the size.
    """
    validate_rle(mask)
    height = mask.size.height
    image = np.zeros((height, mask.size.width), np.bool_)
    starts, ends = _set_runs(mask)
    if starts.size:
        first, last = int(starts[0]) // height, (int(ends[-1]) - 1) // height + 1
        column_edges = np.concatenate(
            ([first * height], np.stack((starts, ends), 1).ravel(), [last * height]))
        lengths = np.diff(column_edges)
        values = np.arange(lengths.size) % 2 == 1
        image[:, first:last] = np.repeat(values, lengths).reshape(last - first, height).T
    return image


def rle_area(mask: Mask) -> int:
    """Count the pixels that are set."""
    return int(sum(mask.counts[1::2]))


def rle_box(mask: Mask) -> tuple[int, int, int, int] | None:
    """Find the tight box around the pixels that are set.

    :return: x_min, y_min, x_max, y_max in pixels, the last two exclusive; None if no pixel is set.
    """
    starts, ends = _set_runs(mask)
    if not starts.size:
        return None
    height = mask.size.height
    first_column, first_row = np.divmod(starts, height)
    last_column, last_row = np.divmod(ends - 1, height)
    x_min, x_max = int(first_column[0]), int(last_column[-1]) + 1
    # A run that goes on in the next column holds the bottom of one and the top of the other.
    if (first_column != last_column).any():
        return x_min, 0, x_max, height
    return x_min, int(first_row.min()), x_max, int(last_row.max()) + 1


def rle_intersection(a: Mask, b: Mask) -> int:
    """Count the pixels that are set in both masks, without decoding them.

    :raises ValueError: if the masks are of different sizes.
    """
    _check_same_size((a, b))
    return _count_common(_set_runs(a), _set_runs(b))


def rle_iou(a: Mask, b: Mask) -> float:
    """Divide the intersection of two masks by their union, without decoding them.

    :return: 0 to 1; 0 if both are empty, as in COCO's mask API.
    :raises ValueError: if the masks are of different sizes.
    """
    return float(rle_iou_matrix((a,), (b,))[0, 0])


def rle_iou_matrix(a: Sequence[Mask], b: Sequence[Mask]) -> np.ndarray:
    """Divide intersection by union for every pair of masks, without decoding them.

    :return: (len(a), len(b)) float64, 0 to 1; 0 where both are empty, as in COCO's mask API.
    :raises ValueError: if the masks are of different sizes.
    """
    _check_same_size((*a, *b))
    a_runs, b_runs = [_set_runs(mask) for mask in a], [_set_runs(mask) for mask in b]
    areas = [[int((ends - starts).sum()) for starts, ends in runs] for runs in (a_runs, b_runs)]
    matrix = np.zeros((len(a), len(b)))
    for row, a_run in enumerate(a_runs):
        for column, b_run in enumerate(b_runs):
            common = _count_common(a_run, b_run)
            if common:
                union = areas[0][row] + areas[1][column] - common
                matrix[row, column] = common / union
    return matrix


def rle_union(masks: Sequence[Mask]) -> Mask:
    """Unite masks of one image, without decoding them.

    :raises ValueError: if there is none, or they are of different sizes.
    """
    if not masks:
        raise ValueError('the union of no masks has no size')
    _check_same_size(masks)
    runs = [_set_runs(mask) for mask in masks]
    starts = np.concatenate([run[0] for run in runs])
    ends = np.concatenate([run[1] for run in runs])
    order = np.argsort(starts, kind='stable')
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    opens = np.ones(starts.size, np.bool_)
    opens[1:] = starts[1:] > reach[:-1]
    closes = np.roll(opens, -1)
    positions = np.stack((starts[opens], reach[closes]), 1).ravel()
    return _mask_from_positions(positions, masks[0].size)


def rle_difference(a: Mask, b: Mask) -> Mask:
    """Keep of one mask what is not set in the other, without decoding them.

    :raises ValueError: if the masks are of different sizes.
    """
    return _inverse(rle_union((_inverse(a), b)))


def validate_rle(mask: Mask) -> None:
    """Check that run lengths describe an image of the mask's size.

    :raises ValueError: with what is wrong.
    """
    _check_size(mask.size)
    if any(count < 0 for count in mask.counts):
        raise ValueError(f'negative run length {min(mask.counts)}')
    total, expected = sum(mask.counts), mask.size.width * mask.size.height
    if total != expected:
        raise ValueError(
            f'run lengths add up to {total}, not to {expected}'
            f' = {mask.size.width}x{mask.size.height}')


def _check_plane(pixels: np.ndarray) -> None:
    if pixels.ndim != 2:
        raise ValueError(f'a mask has two dimensions, not shape {pixels.shape}')


def _check_size(size: Size) -> None:
    if size.width < 1 or size.height < 1:
        raise ValueError(f'an image of {size.width}x{size.height} has no pixels')


def _check_same_size(masks: Sequence[Mask]) -> None:
    sizes = {(mask.size.width, mask.size.height) for mask in masks}
    if len(sizes) > 1:
        raise ValueError(f'masks of different sizes: {sorted(sizes)}')


def _column_changes(crop: np.ndarray) -> np.ndarray:
    """Mark where a pixel differs from the one above it, zeros all around: (h + 1, w) bool."""
    pixels = crop if crop.dtype == np.bool_ else crop != 0
    height, width = pixels.shape
    changes = np.empty((height + 1, width), np.bool_)
    changes[0] = pixels[0]
    np.not_equal(pixels[1:], pixels[:-1], out=changes[1:height])
    changes[height] = pixels[-1]
    return changes


def _join_columns(positions: np.ndarray) -> np.ndarray:
    """Drop where a run ends at the bottom of a column and one starts at the top of the next."""
    same = positions[1:] == positions[:-1]
    keep = np.ones(positions.size, np.bool_)
    keep[1:] &= ~same
    keep[:-1] &= ~same
    return positions[keep]


def _mask_from_positions(positions: np.ndarray, size: Size) -> Mask:
    """Make a mask of the column-major positions at which the value changes, in order."""
    total = size.width * size.height
    end = [] if positions.size and positions[-1] == total else [total]
    counts = np.diff(np.concatenate(([0], positions, end)).astype(np.int64))
    return Mask(size, tuple(counts.tolist()))


def _inverse(mask: Mask) -> Mask:
    counts = mask.counts[1:] if mask.counts[:1] == (0,) else (0, *mask.counts)
    return Mask(mask.size, counts)


def _set_runs(mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """Find the runs that are set: column-major start and exclusive end, (N,) int64 each."""
    edges = np.cumsum(np.asarray(mask.counts, np.int64))
    starts, ends = edges[0:-1:2], edges[1::2]
    filled = ends > starts
    return starts[filled], ends[filled]


def _count_common(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> int:
    """Count the pixels that lie in runs of both masks, each given by starts and ends."""
    (a_starts, a_ends), (b_starts, b_ends) = a, b
    if not a_starts.size or not b_starts.size:
        return 0
    # Most pairs of objects share no column.
    if a_ends[-1] <= b_starts[0] or b_ends[-1] <= a_starts[0]:
        return 0
    before = np.concatenate(([0], np.cumsum(a_ends - a_starts)))

    def set_before(positions: np.ndarray) -> np.ndarray:
        run = np.searchsorted(a_starts, positions, side='right')
        unfinished = np.maximum(a_ends[run - 1] - positions, 0)
        return before[run] - np.where(run > 0, unfinished, 0)

    return int((set_before(b_ends) - set_before(b_starts)).sum())
