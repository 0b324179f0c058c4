"""Packing keeps every number, says where and when it is, and can be undone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.dit.tokens import Sample, pack, patchify, unpatchify

sizes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=25, deadline=None)
@given(st.lists(sizes, min_size=1, max_size=4), st.integers(1, 2), st.integers(1, 3))
def test_unpacking_undoes_packing(shapes, ph, pw):
    videos = [
        torch.arange(3.0 * t * h * ph * w * pw).reshape(3, t, h * ph, w * pw) + i
        for i, (t, h, w, _) in enumerate(shapes)
    ]
    packed = pack(
        [Sample(v, 12.0, torch.zeros(s[3] - 1, 4)) for v, s in zip(videos, shapes, strict=True)], (1, ph, pw)
    )
    for video, again in zip(videos, packed.unpack(packed.tokens_ND), strict=True):
        assert torch.equal(video, again)
    assert (
        len(packed.positions_N3) == len(packed.segment_N) == len(packed.time_index_N) == len(packed.tokens_ND)
    )
    assert packed.text_segment_M.unique().tolist() == list(range(len(videos)))


def test_a_token_holds_its_own_patch_all_channels_together():
    x = torch.arange(2 * 1 * 4 * 4).reshape(2, 1, 4, 4)
    tokens = patchify(x, (1, 2, 2))
    assert tokens[1].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]
    assert torch.equal(unpatchify(tokens, (2, 1, 4, 4), (1, 2, 2)), x)


def test_positions_are_seconds_of_the_last_frame_covered_and_middles_of_patches():
    packed = pack(
        [Sample(torch.zeros(1, 2, 4, 2), fps=8.0, text_LE=torch.zeros(1, 4), start_s=1.0)],
        (1, 2, 2),
        stride_time=4,
    )
    assert packed.positions_N3.tolist() == [
        [1.0, 1.0, 1.0],
        [1.0, 3.0, 1.0],
        [1.5, 1.0, 1.0],
        [1.5, 3.0, 1.0],
    ]


def test_a_sample_without_text_gets_one_null_token():
    packed = pack(
        [
            Sample(torch.zeros(1, 1, 2, 2), 8.0, torch.ones(3, 4)),
            Sample(torch.zeros(1, 1, 2, 2), 8.0, torch.ones(0, 4)),
        ]
    )
    assert packed.text_null_M.tolist() == [False, False, False, True]
    assert packed.text_segment_M.tolist() == [0, 0, 0, 1]


def test_sizes_that_cannot_be_cut_are_refused():
    with pytest.raises(ValueError, match=r"1×3×2 .* patches of 1×2×2"):
        pack([Sample(torch.zeros(1, 1, 3, 2), 8.0, torch.zeros(1, 4))])
    with pytest.raises(ValueError, match="no samples"):
        pack([])
