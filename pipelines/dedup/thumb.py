"""One small frame → a thumbnail of 32 × 32 gray samples, what copies are compared by."""

import cv2
import numpy as np

SIDE = 32
BYTES = SIDE * SIDE


def thumb(gray: np.ndarray) -> bytes:
    """Row by row, from gray uint8 (H, W) of any size, squeezed to a square."""
    return cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).tobytes()
