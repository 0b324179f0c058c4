"""The scenes that pictures are measured on are what their truth says."""

import numpy as np
import pytest

from benchmarks.footage.picture_scenes import TEXTS, barred, draw_encoder, film, written_on
from benchmarks.footage.takes import deal, packaged_takes


@pytest.fixture(scope="module")
def takes():
    """One, so that little is decoded."""
    return deal(packaged_takes(), held_out=False)[-1:]


def test_outside_the_picture_is_black_alone_and_inside_is_none_of_it(takes):
    checked = 0
    for seed in range(40):
        scene = barred(np.random.default_rng(seed), takes, count=2)
        if "day" not in scene.what or "noise=0.0 soft=1.0  " not in scene.what:
            continue
        left, top, right, bottom = (round(edge) for edge in scene.picture)
        outside = np.ones(scene.frames.shape[1:3], bool)
        outside[top:bottom, left:right] = False
        black = int(scene.what.split("black=")[1].split()[0])
        assert (scene.frames[:, outside] == black).all()
        for edge in (np.s_[top, left:right], np.s_[bottom - 1, left:right], np.s_[top:bottom, left]):
            assert scene.frames[0][edge].mean() > black + 5
        checked += 1
    assert checked >= 3


# a page also darkens what is behind it
@pytest.mark.parametrize("kind", [kind for kind in TEXTS if kind != "page"])
def test_text_changes_the_picture_where_its_truth_says_so(takes, kind):
    rng = np.random.default_rng(7)
    scene = written_on(rng, takes, kind, count=2)
    assert scene.area.shape == (2,)
    if kind == "none":
        assert not scene.area.any()
        return
    plain = np.random.default_rng(7)
    plain.integers(7)  # the size was drawn first
    height, width = scene.frames.shape[1:3]
    changed = (
        (scene.frames != np.clip(film(plain, takes, 2, height, width), 0, 255)).any(axis=3).mean(axis=(1, 2))
    )
    assert 0 < scene.area[0] < 0.5
    assert changed[0] > 0.3 * scene.area[0]


def test_a_seed_is_a_scene(takes):
    first, again = (barred(np.random.default_rng(3), takes, count=2) for _ in range(2))
    np.testing.assert_array_equal(first.frames, again.frames)
    assert (first.codec, first.options, first.picture) == (again.codec, again.options, again.picture)
    assert draw_encoder(np.random.default_rng(4)) == draw_encoder(np.random.default_rng(4))
