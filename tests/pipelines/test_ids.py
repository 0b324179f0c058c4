"""The same content has the same name everywhere."""

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cutting.config import ReencodeConfig
from pipelines.ids import clip_id, fingerprint, hash_text, video_id

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), plain, max_size=6))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value):
    assert fingerprint(value) == fingerprint(dict(reversed(value.items())))


simple = st.dictionaries(st.text(max_size=2), st.integers(0, 3) | st.text(max_size=2), max_size=3)


@given(simple, simple)
def test_values_have_the_same_fingerprint_exactly_if_they_are_equal(a, b):
    assert (fingerprint(a) == fingerprint(b)) == (a == b)


def test_names_are_fixed_for_ever():
    assert hash_text("rushes") == "f2b8f6d2a499fdf5049c8c30ec9feb71"
    assert clip_id("v", 0, 10) == hash_text("v:0:10")


def test_a_changed_setting_changes_the_fingerprint_and_an_unnameable_value_is_refused():
    assert fingerprint(ReencodeConfig(crf=16)) != fingerprint(ReencodeConfig(crf=17))
    assert fingerprint(Fraction(1, 25)) == fingerprint("1/25")

    @dataclass
    class Strange:
        value: object

    with pytest.raises(TypeError, match="no canonical form"):
        fingerprint(Strange(object()))


def test_a_video_is_its_bytes_wherever_they_lie(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"video" * 1000)
    (tmp_path / "b.mov").write_bytes(b"video" * 1000)
    (tmp_path / "c.mp4").write_bytes(b"video" * 999)
    a, b, c = (video_id(tmp_path / name) for name in ("a.mp4", "b.mov", "c.mp4"))
    assert a == b != c
