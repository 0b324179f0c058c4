"""Nudity: NudeNet looks at native frames for exposed body parts, where its package is installed.

The network is YOLOv8n at 320 × 320 (package `nudenet`, `320n.onnx`), under the AGPL-3.0: an extra, for those
who want it. It is run by our own session: the package's detector starts a thread per core and walks over
boxes in Python, where only the likeliest box matters here.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.scores import onnx
from pipelines.scores.base import Meter, MeterRow, NativeFrame, Score, reduce_native
from pipelines.scores.config import ScoreConfig
from pipelines.weights import Pinned

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

INSTALL = "pip install 'rushes[nsfw]'"
_WEIGHTS = Pinned(
    "nudenet", "nudenet", "320n.onnx", "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f"
)
_SIDE_PX = 320  # what the network was trained at
_BOX = 4  # the first outputs of a box are its place


def classifier() -> Callable[[np.ndarray], np.ndarray]:
    """A function from a frame, RGB uint8 (H, W, 3), to the probability of each of `CLASSES`: its likeliest
    box's."""
    network = onnx.session(_WEIGHTS.path())
    (inputs,) = network.get_inputs()

    def probabilities(rgb: np.ndarray) -> np.ndarray:
        (boxes,) = network.run(None, {inputs.name: _prepared(rgb)})
        return boxes[0, _BOX:].max(axis=1)

    return probabilities


def _prepared(rgb: np.ndarray) -> np.ndarray:
    """The frame as the package's detector hands it to the network: made square by black to the right or
    below, channels blue, green, red; float32 (1, 3, 320, 320), 0 to 1."""
    import cv2

    h, w = rgb.shape[:2]
    square = cv2.copyMakeBorder(rgb, 0, max(0, w - h), 0, max(0, h - w), cv2.BORDER_CONSTANT)
    return cv2.dnn.blobFromImage(square, 1 / 255, (_SIDE_PX, _SIDE_PX), swapRB=True)


def _load(cfg: ScoreConfig, precision: str) -> Callable[[NativeFrame], MeterRow]:
    probabilities = classifier()
    exposed = np.array([CLASSES.index(name) for name in EXPOSED])

    def look(frame: NativeFrame) -> MeterRow:
        found = probabilities(frame.rgb)[exposed]
        likeliest = int(found.argmax())
        return {"nsfw": float(found[likeliest]), "what": EXPOSED[likeliest]}

    return look


def is_installed() -> bool:
    """Whether NudeNet is on this machine."""
    return _WEIGHTS.is_installed


def missing(cfg: ScoreConfig) -> str | None:
    """See `Meter`. Asks the config, not the machine: whoever starts a run decides for all its workers
    (`registry.decided`)."""
    if cfg.nsfw:
        return None
    if cfg.nsfw is None:
        return f"NudeNet (AGPL-3.0) was not installed: {INSTALL}"
    return "switched off; set scores.nsfw=true"


def check(cfg: ScoreConfig) -> None:
    """Whether the network is there if it is asked for, and is the one that is pinned.

    Raises:
        ValueError: what to install.
        WeightsError: it is another one.
    """
    if not cfg.nsfw:
        return
    if not is_installed():
        raise ValueError(
            f"scores.nsfw=true needs NudeNet (AGPL-3.0), which is not installed: {INSTALL}; or leave "
            "scores.nsfw out"
        )
    _WEIGHTS.path()


def _settings(cfg: ScoreConfig, precision: str) -> Any:
    return [VERSION, _WEIGHTS.sha256]  # without asking for the package: to decide again needs none


METER = Meter(
    name="nsfw",
    columns=(pa.field("nsfw", pa.float32()), pa.field("what", pa.string())),
    load=_load,
    settings=_settings,
    model=lambda cfg: f"nudenet {version('nudenet')} 320n v{VERSION}",
    missing=missing,
)

SCORES = {
    "nsfw": Score(
        reduce_native("nsfw", "nsfw", np.max),
        "highest probability of an exposed body part in any native frame",
        "probability, 0–1",
        "nsfw",
        high="nsfw",
    ),
}
