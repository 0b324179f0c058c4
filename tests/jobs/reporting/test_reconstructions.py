"""The VAE evaluation's page: three pictures side by side, the difference amplified, nothing fetched."""

import base64
import re

import cv2
import numpy as np
import pytest

from jobs.reporting.reconstructions import MEASURES, make_comparison, render

ROW = {"clip_id": "abcdef0123", "source_uri": "/footage/<b>kite</b>.mp4", "start_s": 61.0}
FIGURES = {"psnr_db": 31.257, "ssim": 0.9, "perceptual": 0.25, "flicker": None, "motion_sharpness": 0.75}


def flat(level: int, frames: int = 5) -> np.ndarray:
    return np.full((frames, 16, 32, 3), level, np.uint8)


def pixels(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def test_original_reconstruction_and_their_amplified_difference_stand_side_by_side():
    shown = make_comparison(ROW, flat(100), flat(110), 8.0, 1.5, FIGURES)
    assert [s.label for s in shown.stills] == ["frame 1 of 5", "frame 3 of 5", "frame 5 of 5"]
    for still in shown.stills:
        picture = pixels(still.uri)
        assert picture.shape == (16, 96, 3)
        for column, level in enumerate((100, 110, 40)):
            assert picture[:, 32 * column : 32 * (column + 1)].mean() == pytest.approx(level, abs=2)
    assert shown.video is not None
    assert shown.at == "1:02.5, 5 frames"
    assert dict(shown.figures)["PSNR"] == "31.26 dB"
    assert dict(shown.figures)["flicker"] == "–"


def test_a_single_frame_is_a_picture_and_no_video():
    shown = make_comparison(ROW, flat(100, 1), flat(250, 1), 8.0, 0.0, FIGURES)
    assert shown.video is None
    assert len(shown.stills) == 1
    assert pixels(shown.stills[0].uri)[:, 64:].min() >= 253, "a difference beyond white is white"


def test_the_page_shows_every_figure_and_fetches_nothing():
    whole = {**FIGURES, "windows": 3, "clips": 2, "windows_with": {"flicker": 0, "motion_sharpness": 2}}
    result = {
        "perceptual_distance": "efficientnet",
        "overall": whole,
        "shapes": [{"num_frames": 5, "height": 16, "width": 32, **whole}],
    }
    clip = make_comparison(ROW, flat(100), flat(110), 8.0, 1.5, FIGURES)
    page = render("my/vae", "my/dataset", result, [((5, 16, 32), 2, [clip])])
    for text in (
        "31.26 dB",
        "5 × 16 × 32",
        "amplified × 4",
        "1 of 2 clips",
        "<small>of 2</small>",
        *(m.name for m in MEASURES),
    ):
        assert text in page
    assert "<b>kite</b>" not in page
    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert address.startswith(("data:", "#")), address
