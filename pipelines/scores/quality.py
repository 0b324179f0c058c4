"""How good the picture is technically: sharpness, on native frames."""

import numpy as np
import pyarrow as pa

from pipelines.scores.base import Meter, NativeFrame, Row, Score, of_native

VERSION = 1


def sharpness(gray: np.ndarray) -> float:
    """Variance of the Laplacian of luma (Pech-Pacheco et al. 2000): near 0 without focus, hundreds with fine detail."""
    import cv2

    return float(cv2.Laplacian(gray, cv2.CV_32F).var())


def _look(frame: NativeFrame) -> Row:
    return {"sharpness": sharpness(frame.gray)}


METER = Meter(
    name="quality",
    columns=(pa.field("sharpness", pa.float32()),),
    load=lambda cfg: _look,
    settings=lambda cfg: VERSION,
    model=lambda cfg: f"quality v{VERSION}",
)

SCORES = {
    "sharpness": Score(
        of_native("quality", "sharpness"),
        "median over native frames of the variance of the Laplacian",
        "luma²",
        "quality",
        low="blurry",
    ),
}
