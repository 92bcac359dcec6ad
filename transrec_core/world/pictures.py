"""The made world's pictures."""

from __future__ import annotations

import numpy as np

from transrec_core.world.config import PIXELS, WorldConfig


def draw_pictures(config: WorldConfig, z: np.ndarray, stream: str) -> np.ndarray:
    """Emblems of items with latents z [n, K]: hue of the ground from the first two factors, direction of the
    stripes from the next two, place and size of the disc from the last two; phase, brightness, shift and
    pixel noise tell nothing.

    Returns:
        uint8 [n, 3, 32, 32].
    """
    rng = config.rng(stream)
    n = len(z)
    angles = [np.arctan2(z[:, k + 1], z[:, k]) for k in (0, 2, 4)]
    strength = [np.hypot(z[:, k], z[:, k + 1]) for k in (0, 2, 4)]
    phase, bright = rng.uniform(0, 2 * np.pi, n), rng.uniform(-0.08, 0.08, n)
    shift = rng.uniform(-1.5, 1.5, (n, 2))
    y, x = np.meshgrid(np.arange(PIXELS) - 15.5, np.arange(PIXELS) - 15.5, indexing="ij")

    def col(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32)[:, None, None]

    hue = angles[0][:, None] + np.array(
        [0, 2 * np.pi / 3, 4 * np.pi / 3]
    )  # three channels, a third of a turn apart
    ground = 0.5 + 0.4 * strength[0][:, None] * np.cos(hue) + bright[:, None]
    along = x * col(np.cos(angles[1] / 2)) + y * col(np.sin(angles[1] / 2))
    stripes = col(0.22 * strength[1]) * np.sin(0.9 * along + col(phase))
    centre = 8.5 * np.stack([np.cos(angles[2]), np.sin(angles[2])], 1) + shift
    distance = np.hypot(x - col(centre[:, 0]), y - col(centre[:, 1]))
    disc = 1 / (1 + np.exp((distance - col(2.5 + 4.5 * strength[2])) / 0.5))
    picture = (ground[:, :, None, None] + stripes[:, None]) * (1 - disc[:, None]) + (
        1.1 - ground[:, :, None, None]
    ) * disc[:, None]
    picture += config.pixel_noise * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(255 * picture, 0, 255).astype(np.uint8)
