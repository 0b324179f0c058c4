"""NudeNet's own answers, from our session."""

import av
import numpy as np
import pytest

from pipelines.config import ScoreConfig
from pipelines.scores import nsfw, onnx
from pipelines.scores.registry import load_meters, missing
from tests.footage import real_clips


@pytest.fixture(scope="module")
def frames():
    """Of all real clips, RGB; in one of them is a face, in another a rabbit without clothes."""
    found = []
    for path in real_clips().values():
        with av.open(str(path)) as container:
            found += [
                p.to_ndarray(format="rgb24") for k, p in enumerate(container.decode(video=0)) if k in (0, 60, 120)
            ]
    return found


@pytest.fixture(scope="module")
def detector():
    onnx.silence()
    from nudenet import NudeDetector

    return NudeDetector()


def test_the_probabilities_are_those_of_the_package(frames, detector):
    probabilities = nsfw.classifier()
    seen = set()
    for rgb in frames:
        ours = dict(zip(nsfw.CLASSES, probabilities(rgb), strict=True))
        theirs: dict[str, float] = {}
        for found in detector.detect(np.ascontiguousarray(rgb[..., ::-1])):
            theirs[found["class"]] = max(theirs.get(found["class"], 0.0), found["score"])
        assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-4)
        assert all(ours[name] < 0.26 for name in set(ours) - set(theirs))  # its threshold is 0.25
        seen |= set(theirs)
    assert {"FACE_FEMALE", "FEET_EXPOSED"} <= seen


def test_a_frame_has_its_likeliest_exposed_class(frames):
    look, probabilities = load_meters(ScoreConfig(), ("nsfw",), "fp32")["nsfw"], nsfw.classifier()

    class Frame:
        rgb = frames[0]

    row = look(Frame)
    every = dict(zip(nsfw.CLASSES, probabilities(frames[0]), strict=True))
    exposed = {name: every[name] for name in nsfw.EXPOSED}
    assert row["what"] == max(exposed, key=exposed.get)
    assert row["nsfw"] == pytest.approx(max(exposed.values()))


def test_the_classes_are_the_packages():
    import nudenet.nudenet as package

    assert list(nsfw.CLASSES) == getattr(package, "__labels")
    assert set(nsfw.EXPOSED) < set(nsfw.CLASSES)


def test_switched_off_it_says_which_key_to_set():
    assert missing("nsfw", ScoreConfig(nsfw=False)) == "switched off; set scores.nsfw=true"
    assert missing("nsfw", ScoreConfig()) is None
