"""NudeNet's own answers, from our session."""

import sys

import av
import numpy as np
import pytest

from pipelines.recipes.config import RecipeConfig
from pipelines.recipes.recipe import check_measurable, load_recipe
from pipelines.scores import nsfw, onnx
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import METERS, check, configured_meters, load_meters, missing, resolve_config
from tests.support.footage import real_clips


@pytest.fixture(scope="module")
def frames():
    """Of all real clips, RGB; in one of them is a face, in another a rabbit without clothes."""
    found = []
    for path in real_clips().values():
        with av.open(str(path)) as container:
            found += [
                p.to_ndarray(format="rgb24")
                for k, p in enumerate(container.decode(video=0))
                if k in (0, 60, 120)
            ]
    return found


@pytest.fixture(scope="module")
def detector():
    onnx.disable_telemetry()
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
    assert missing("nsfw", ScoreConfig(nsfw=True)) is None


def test_where_nobody_said_it_is_measured_if_the_package_is_there():
    assert resolve_config(ScoreConfig()) == ScoreConfig(nsfw=True)
    for said in (True, False):
        assert resolve_config(ScoreConfig(nsfw=said)) == ScoreConfig(nsfw=said)


@pytest.fixture
def without_nudenet(monkeypatch):
    """Python finds no such module."""
    monkeypatch.setitem(sys.modules, "nudenet", None)


def test_without_the_package_it_is_null_and_says_what_to_install(without_nudenet):
    cfg = resolve_config(ScoreConfig())
    check(cfg)
    assert "nsfw" not in configured_meters(cfg)
    assert missing("nsfw", cfg) == "NudeNet (AGPL-3.0) was not installed: pip install 'rushes[nsfw]'"


def test_asked_for_without_the_package_it_is_refused_before_anything_runs(without_nudenet):
    with pytest.raises(ValueError, match=r"scores.nsfw=true needs NudeNet .* pip install 'rushes\[nsfw\]'"):
        check(ScoreConfig(nsfw=True))


def test_a_rule_on_it_fails_before_anything_runs_where_nothing_measures_it(without_nudenet):
    recipe = load_recipe(RecipeConfig(name="permissive", max={"nsfw": 0.5}))
    with pytest.raises(ValueError, match=r"nsfw: NudeNet .* pip install"):
        check_measurable(recipe, resolve_config(ScoreConfig()))


def test_deciding_again_needs_no_package(without_nudenet):
    assert METERS["nsfw"].settings(ScoreConfig(nsfw=True), "fp32")
