"""Text in the picture: RapidOCR finds it on native frames and reads it.

In: a native frame. Out: boxes with what they say, and the share of the frame they cover. PP-OCRv4 (package
`rapidocr_onnxruntime`): one network marks text in a frame of bounded size, another reads each mark from
native pixels. A mark that can't be read is texture, not text.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.scores import onnx
from pipelines.scores.base import ClipMeasurements, Meter, MeterRow, NativeFrame, Score, reduce_native
from pipelines.scores.config import ScoreConfig
from pipelines.weights import Pinned

if TYPE_CHECKING:
    from rapidocr_onnxruntime.ch_ppocr_det import TextDetector
    from rapidocr_onnxruntime.ch_ppocr_rec import TextRecognizer

VERSION = 2
_PACKAGE = "rapidocr-onnxruntime"
_SETTINGS = Pinned(
    _PACKAGE,
    "rapidocr_onnxruntime",
    "config.yaml",
    "bf94a1da4cba828e67b1d61e27cee14d9e7da27c9f272e04048a17e41ae97332",
)
_WEIGHTS = {
    "Det": Pinned(
        _PACKAGE,
        "rapidocr_onnxruntime",
        "models/ch_PP-OCRv4_det_infer.onnx",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    ),
    "Rec": Pinned(
        _PACKAGE,
        "rapidocr_onnxruntime",
        "models/ch_PP-OCRv4_rec_infer.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    ),
}
_MULTIPLE_PX = 32  # that the detector's sides are rounded to
_LEAST_CONFIDENCE = 0.6  # mean over the characters of a line; what is read from texture has less
_LONE_CONFIDENCE = 0.9  # of a line of one character: a wheel is read as an O
_UPRIGHT = 1.5  # a box that is so many times higher than wide is read from its side
_ROW_SHARE = 0.5  # lines whose middles are nearer than this share of their height are one row

BOX = pa.struct(
    [
        *(pa.field(name, pa.int32()) for name in ("x", "y", "width", "height")),
        pa.field("text", pa.string()),
        pa.field("confidence", pa.float32()),
    ]
)
"""Bounds of a line of text as displayed, px; what it says, and how surely, 0 to 1."""


def _load(cfg: ScoreConfig, precision: str) -> Callable[[NativeFrame], MeterRow]:
    onnx.disable_telemetry()
    from rapidocr_onnxruntime.ch_ppocr_det import TextDetector
    from rapidocr_onnxruntime.ch_ppocr_rec import TextRecognizer

    settings = _package_settings()
    detector, reader = TextDetector(settings["Det"]), TextRecognizer(settings["Rec"])
    return lambda frame: _look(frame, detector, reader, cfg.text_side_px)


def _package_settings() -> dict[str, Any]:
    """The package's own settings, on one thread, at the size that we hand in."""
    import yaml

    settings = yaml.safe_load(_SETTINGS.path().read_text())
    for part, weights in _WEIGHTS.items():
        settings[part] |= {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        settings[part]["model_path"] = str(weights.path())
    settings["Det"] |= {"limit_type": "min", "limit_side_len": _MULTIPLE_PX}  # it enlarges nothing above that
    return settings


def _look(frame: NativeFrame, detector: "TextDetector", reader: "TextRecognizer", side_px: int) -> MeterRow:
    import cv2

    bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
    h, w = bgr.shape[:2]
    polygons = _found(bgr, detector, side_px)
    read = reader([_straightened(bgr, polygon) for polygon in polygons])[0] if len(polygons) else []
    mask = np.zeros((h, w), np.uint8)
    boxes: list[MeterRow] = []
    for polygon, (text, confidence) in zip(polygons, read, strict=True):
        text = text.strip()
        if not text or confidence < (_LEAST_CONFIDENCE if len(text) > 1 else _LONE_CONFIDENCE):
            continue
        cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
        (x0, y0), (x1, y1) = np.floor(polygon.min(axis=0)), np.ceil(polygon.max(axis=0))
        bounds = {"x": int(x0), "y": int(y0), "width": int(x1 - x0), "height": int(y1 - y0)}
        boxes.append(bounds | {"text": text, "confidence": float(confidence)})
    return {"area": float(mask.mean()), "boxes": _in_reading_order(boxes)}


def _found(bgr: np.ndarray, detector: "TextDetector", side_px: int) -> np.ndarray:
    """Quadrangles of text, clockwise from the upper left corner, px of the frame; float32 (N, 4, 2)."""
    import cv2

    h, w = bgr.shape[:2]
    scale = min(1.0, side_px / max(h, w))
    size = [max(1, round(side * scale / _MULTIPLE_PX)) * _MULTIPLE_PX for side in (w, h)]
    polygons, _ = detector(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA))
    if polygons is None or not len(polygons):
        return np.empty((0, 4, 2), np.float32)
    return (polygons * (w / size[0], h / size[1])).astype(np.float32)


def _straightened(bgr: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """What lies in the quadrangle, as a picture of a line from left to right."""
    import cv2

    width = max(
        1, round(float(max(np.linalg.norm(polygon[0] - polygon[1]), np.linalg.norm(polygon[2] - polygon[3]))))
    )
    height = max(
        1, round(float(max(np.linalg.norm(polygon[0] - polygon[3]), np.linalg.norm(polygon[1] - polygon[2]))))
    )
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    move = cv2.getPerspectiveTransform(polygon, corners)
    line = cv2.warpPerspective(
        bgr, move, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.ascontiguousarray(np.rot90(line)) if height >= _UPRIGHT * width else line


def _in_reading_order(boxes: list[MeterRow]) -> list[MeterRow]:
    """Rows from above, each from the left."""
    rows: list[list[MeterRow]] = []
    for box in sorted(boxes, key=lambda box: (box["y"] + box["height"] / 2, box["x"])):
        first = rows[-1][0] if rows else None
        apart = first and abs(box["y"] + box["height"] / 2 - first["y"] - first["height"] / 2)
        if first and apart < _ROW_SHARE * min(box["height"], first["height"]):
            rows[-1].append(box)
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row, key=lambda box: box["x"])]


def _most_text(clip: ClipMeasurements) -> list[MeterRow] | None:
    """Boxes of the native frame with most text."""
    if not len(clip.native.get("text", ())):
        return None
    rows = clip.native["text"]
    return rows["boxes"][int(np.argmax(rows["area"].to_numpy()))].as_py()


def _count(clip: ClipMeasurements) -> float | None:
    if not len(clip.native.get("text", ())):
        return None
    return float(np.mean([len(boxes) for boxes in clip.native["text"]["boxes"]]))


def _said(clip: ClipMeasurements) -> str | None:
    """Every line once, in the order in which they are first seen."""
    if not len(clip.native.get("text", ())):
        return None
    lines = [box["text"] for boxes in clip.native["text"]["boxes"].to_pylist() for box in boxes]
    return "\n".join(dict.fromkeys(lines))


def _settings(cfg: ScoreConfig, precision: str) -> Any:
    for weights in _WEIGHTS.values():
        weights.path()  # looks at it
    return [VERSION, cfg.text_side_px, version(_PACKAGE), *(weights.sha256 for weights in _WEIGHTS.values())]


METER = Meter(
    name="text",
    columns=(pa.field("area", pa.float32()), pa.field("boxes", pa.list_(BOX))),
    load=_load,
    settings=_settings,
    model=lambda cfg: f"{_PACKAGE} {version(_PACKAGE)} PP-OCRv4 v{VERSION}",
    missing=lambda cfg: None if cfg.text else "switched off; set scores.text=true",
)

SCORES = {
    "text_area": Score(
        reduce_native("text", "area", np.mean),
        "share of the frame that text covers, mean over native frames: a caption that is there half of the "
        "time counts half",
        "share of the frame",
        "text",
        high="texty",
    ),
    "text_count": Score(
        _count, "lines of text in a native frame, mean", "lines per frame", "text", high="texty"
    ),
    "text_boxes": Score(
        _most_text,
        "lines of the native frame with most text",
        "px, confidence 0–1",
        "text",
        kind=pa.list_(BOX),
    ),
    "text": Score(
        _said,
        "lines that are read anywhere in the clip, each once; empty if there is none",
        "lines, in the order they are first seen",
        "text",
        kind=pa.string(),
    ),
}
