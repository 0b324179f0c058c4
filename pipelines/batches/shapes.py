"""From native sizes to the exact shapes that batches are made of.

In: a displayed size and a pixel budget. Out: height and width that the model can take, as near to the native
aspect as that allows.
"""

from __future__ import annotations

import math


def crop_coverage(width: int, height: int, shape_width: int, shape_height: int) -> float:
    """Share of a picture left after scaling it to cover a shape and cropping the rest."""
    native, shape = width / height, shape_width / shape_height
    return min(native, shape) / max(native, shape)


def fit_shape(width: int, height: int, max_pixels: int, multiple: int) -> tuple[int, int]:
    """The (height, width) for a native size: many pixels, little cropped, never enlarged beyond the next
    multiple.

    Args:
        width, height: as displayed, pixels.
        max_pixels: most pixels of the result.
        multiple: both sides are multiples of it.

    Raises:
        ValueError: not even one multiple × multiple block fits the budget.
    """
    if max_pixels < multiple * multiple:
        raise ValueError(
            f"shapes.max_pixels={max_pixels} is less than one block of {multiple} × {multiple}; raise it to "
            f"at least {multiple**2}"
        )
    best, best_worth = (multiple, multiple), 0.0
    for h in range(multiple, math.ceil(height / multiple) * multiple + 1, multiple):
        w_most = min(max_pixels // h, math.ceil(width / multiple) * multiple)
        for w in range(multiple, w_most + 1, multiple):
            # pixels count by their square root, as sharpness does; cropping counts in full
            worth = crop_coverage(width, height, w, h) * math.sqrt(h * w / max_pixels)
            if worth > best_worth:
                best, best_worth = (h, w), worth
    return best


def fit_frames(num_frames: int, max_frames: int) -> int:
    """The longest 4k+1 that is at most both; 0 where there is no frame at all."""
    most = min(num_frames, max_frames)
    return 4 * ((most - 1) // 4) + 1 if most >= 1 else 0
