"""Procedural grey patterns for table and floor; the renderer multiplies them with a colour."""
from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE_PX = 256
# Index in this tuple = index of the material in the renderer's model.
TEXTURES = ('plain', 'wood', 'speckle', 'cloth', 'blotch', 'stripes')


def texture_pixels(name: str) -> np.ndarray:
    """Compute a tileable pattern: (256, 256) uint8, bright, of mild contrast.

    :raises KeyError: when there is no such pattern.
    """
    rng = np.random.default_rng(TEXTURES.index(name) if name in TEXTURES else 0)
    pattern = _PATTERNS[name](rng)
    return (255 * np.clip(pattern, 0.0, 1.0)).astype(np.uint8)


def _smooth(rng: np.random.Generator, sigma: tuple[float, float]) -> np.ndarray:
    """Tileable noise of zero mean and unit deviation."""
    noise = gaussian_filter(rng.standard_normal((SIDE_PX, SIDE_PX)), sigma, mode='wrap')
    return (noise - noise.mean()) / noise.std()


def _plain(rng: np.random.Generator) -> np.ndarray:
    return np.full((SIDE_PX, SIDE_PX), 0.93)


def _wood(rng: np.random.Generator) -> np.ndarray:
    warp = 0.55 * _smooth(rng, (48.0, 10.0))
    across = np.arange(SIDE_PX)[None, :] / SIDE_PX
    rings = np.sin(2 * np.pi * (7 * across) + 3.0 * warp)
    return 0.86 + 0.07 * rings + 0.04 * _smooth(rng, (14.0, 0.8))


def _speckle(rng: np.random.Generator) -> np.ndarray:
    return 0.88 + 0.06 * _smooth(rng, (1.2, 1.2)) + 0.03 * _smooth(rng, (8.0, 8.0))


def _cloth(rng: np.random.Generator) -> np.ndarray:
    cell = np.arange(SIDE_PX) // 32 % 2
    return 0.84 + 0.05 * (cell[:, None] + cell[None, :]) + 0.015 * _smooth(rng, (0.8, 0.8))


def _blotch(rng: np.random.Generator) -> np.ndarray:
    return 0.86 + 0.07 * _smooth(rng, (18.0, 18.0))


def _stripes(rng: np.random.Generator) -> np.ndarray:
    wave = np.tanh(3.0 * np.sin(2 * np.pi * 6 * np.arange(SIDE_PX) / SIDE_PX))
    return 0.87 + 0.07 * np.broadcast_to(wave[None, :], (SIDE_PX, SIDE_PX))


_PATTERNS = {
    'plain': _plain, 'wood': _wood, 'speckle': _speckle,
    'cloth': _cloth, 'blotch': _blotch, 'stripes': _stripes,
}
