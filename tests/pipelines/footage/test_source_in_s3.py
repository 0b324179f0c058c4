"""A source in a real S3 server: hashed, probed, decoded and cut like the same file here, and never worked on
as another."""

import pytest

from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.cut import cut_clip
from pipelines.cutting.reencode import ClipContent
from pipelines.errors import MediaError, Reason
from pipelines.footage import source_file
from pipelines.footage.cache import FootageCache
from pipelines.ids import video_id
from pipelines.measure import sandboxed
from pipelines.media.config import FootageConfig
from pipelines.media.picture import frames_hash, picture_hash
from pipelines.media.ranged import RangedFile
from pipelines.records import Span
from pipelines.sandbox import child
from pipelines.sandbox.answers import Limits
from pipelines.sandbox.child import call
from tests.support.codecs import render

LIMITS = Limits(deadline_s=60, memory_bytes=1024**3, file_bytes=64 * 1024**2)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setattr(source_file, "node_cache", lambda: FootageCache(tmp_path / "cache"))
    source_file._files.clear()
    yield
    child.stop()


def shown(file, clock, start_pts, end_pts):
    from pipelines.media.decode import iterate_pictures

    return [picture_hash(picture) for picture in iterate_pictures(file, start_pts, end_pts, clock)]


@pytest.mark.parametrize("small_bytes", [0, 64 * 1024**2])
def test_a_source_in_s3_is_hashed_probed_and_cut_as_the_file(s3, tmp_path, monkeypatch, small_bytes):
    monkeypatch.setattr(source_file, "_SMALL_BYTES", small_bytes)
    path, bucket = render("h264_rotated", tmp_path), s3.new_bucket()
    s3.client().put_object(Bucket=bucket, Key="films/a.mov", Body=path.read_bytes())
    uri = f"s3://{bucket}/films/a.mov"
    assert source_file.read_video_id(uri) == video_id(path)
    header = sandboxed.read_header(path, "x", FootageConfig())
    clock = sandboxed.header_clock(header)
    start, end = int(clock.pts[20]), int(clock.pts[40])
    span, cfg = Span(start, end, clock.time_base), CutConfig(max_lead_share=1.0)
    with source_file.source_file(uri) as file:
        assert isinstance(file, RangedFile) == (small_bytes == 0)
        assert call(sandboxed.read_header, file, "x", FootageConfig(), limits=LIMITS).equals(
            header, check_metadata=True
        )
        hashes = call(shown, file, clock, start, end, limits=LIMITS)
        assert hashes == shown(path, clock, start, end)
        args = (ClipContent(span, 20, frames_hash(hashes), clock), cfg, ReencodeConfig())
        far = call(cut_clip, file, tmp_path / "far.mp4", *args, limits=LIMITS, writes=tmp_path)
    assert far == call(cut_clip, path, tmp_path / "near.mp4", *args, limits=LIMITS, writes=tmp_path)
    assert (tmp_path / "far.mp4").read_bytes() == (tmp_path / "near.mp4").read_bytes()


def test_a_source_that_changes_while_it_is_read_is_missing_not_mixed(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(source_file, "_SMALL_BYTES", 0)
    path, bucket = render("h264_mkv", tmp_path), s3.new_bucket()
    s3.client().put_object(Bucket=bucket, Key="a.mkv", Body=path.read_bytes() + bytes(4 * 1024**2))
    with source_file.source_file(f"s3://{bucket}/a.mkv") as file:
        file.read(0, 1000)
        s3.client().put_object(Bucket=bucket, Key="a.mkv", Body=bytes(5 * 1024**2))
        with pytest.raises(MediaError) as caught:
            call(sandboxed.read_header, file, "x", FootageConfig(), limits=LIMITS)
    assert caught.value.reason is Reason.MISSING
    with pytest.raises(MediaError) as caught:
        source_file.read_video_id(f"s3://{bucket}/none.mkv")
    assert caught.value.reason is Reason.MISSING
