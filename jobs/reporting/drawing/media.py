"""Frames and files → `data:` URIs, so that the page fetches nothing.

In: uint8 frames, bytes of files. Out: JPEG filmstrips and mp4s as text for `src`.
"""

from __future__ import annotations

import base64

import numpy as np

_JPEG_QUALITY = 76


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a URI that carries them.

    Args:
        kind: media type, such as image/jpeg.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def jpeg_uri(frame_HWC: np.ndarray, quality: int = _JPEG_QUALITY) -> str:
    """An RGB picture, uint8 (H, W, 3), as a JPEG's URI."""
    import cv2

    bgr = cv2.cvtColor(np.ascontiguousarray(frame_HWC), cv2.COLOR_RGB2BGR)
    done, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    assert done, "OpenCV codes every uint8 picture as JPEG"
    return data_uri(coded.tobytes(), "image/jpeg")


def strip_uri(frames_THWC: np.ndarray) -> str:
    """Frames side by side in one JPEG."""
    return jpeg_uri(np.concatenate(list(frames_THWC), axis=1))
