"""Nudity: NudeNet looks at native frames for exposed body parts.

The network is YOLOv8n at 320 × 320 (package `nudenet`, `320n.onnx`). It is run by our own session: the package's detector
starts a thread per core and walks over boxes in Python, where only the likeliest box matters here.
"""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.config import ScoreConfig
from pipelines.scores import onnx
from pipelines.scores.base import Meter, NativeFrame, Row, Score, of_native

VERSION = 1
CLASSES = (
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)
"""In the order of the network's outputs."""

EXPOSED = (
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_EXPOSED",
    "BUTTOCKS_EXPOSED",
)
"""What counts as nudity."""

_SIDE_PX = 320  # what the network was trained at
_BOX = 4  # the first outputs of a box are its place


def classifier() -> Callable[[np.ndarray], np.ndarray]:
    """A function from a frame, RGB uint8 (H, W, 3), to the probability of each of `CLASSES`: its likeliest box's."""
    network = onnx.session(_weights())
    (inputs,) = network.get_inputs()

    def probabilities(rgb: np.ndarray) -> np.ndarray:
        (boxes,) = network.run(None, {inputs.name: _prepared(rgb)})
        return boxes[0, _BOX:].max(axis=1)

    return probabilities


def _prepared(rgb: np.ndarray) -> np.ndarray:
    """The frame as the package's detector hands it to the network: made square by black to the right or below, channels
    blue, green, red; float32 (1, 3, 320, 320), 0 to 1."""
    import cv2

    h, w = rgb.shape[:2]
    square = cv2.copyMakeBorder(rgb, 0, max(0, w - h), 0, max(0, h - w), cv2.BORDER_CONSTANT)
    return cv2.dnn.blobFromImage(square, 1 / 255, (_SIDE_PX, _SIDE_PX), swapRB=True)


def _load(cfg: ScoreConfig, precision: str) -> Callable[[NativeFrame], Row]:
    probabilities = classifier()
    exposed = np.array([CLASSES.index(name) for name in EXPOSED])

    def look(frame: NativeFrame) -> Row:
        found = probabilities(frame.rgb)[exposed]
        likeliest = int(found.argmax())
        return {"nsfw": float(found[likeliest]), "what": EXPOSED[likeliest]}

    return look


def _weights() -> Path:
    return onnx.folder_of("nudenet") / "320n.onnx"


def _settings(cfg: ScoreConfig, precision: str) -> Any:
    return [VERSION, onnx.weights_hash(_weights())]


METER = Meter(
    name="nsfw",
    columns=(pa.field("nsfw", pa.float32()), pa.field("what", pa.string())),
    load=_load,
    settings=_settings,
    model=lambda cfg: f"nudenet {version('nudenet')} 320n v{VERSION}",
    missing=lambda cfg: None if cfg.nsfw else "switched off; set scores.nsfw=true",
)

SCORES = {
    "nsfw": Score(
        of_native("nsfw", "nsfw", np.max),
        "highest probability of an exposed body part in any native frame",
        "probability, 0–1",
        "nsfw",
        high="nsfw",
    ),
}
