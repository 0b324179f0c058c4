"""A clip is cut, whatever its sound does to the process that cuts it."""

import io

import av
import pytest

from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import fingerprints
from jobs.curation.shard_writer import ShardWriter
from pipelines.errors import MediaError, Reason
from pipelines.footage.listing import etag
from pipelines.media.picture import frames_hash
from pipelines.sandbox import child
from pipelines.sandbox.answers import ChildError
from tests.support.codecs import measure_source
from tests.support.footage import pan, write
from tests.support.sounds import film_with_sound


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """Cuts a clip; the process that cuts it ends so if it is to keep sound."""
    silent = write(tmp_path / "silent.mp4", pan(1, 20, 48, 64))
    source = measure_source(
        film_with_sound(silent, tmp_path / "a.mp4", "aac", 48000, "mono", pieces=[(0.0, 0.8)])
    )
    cfg = CurateConfig(footage=str(source.path), dataset=str(tmp_path / "dataset"), precision="fp32")
    cfg.cut.audio = "keep"
    real, span = child.call, source.span(3, 20)
    clip = {"clip_id": "c", "video_id": "v", "source_uri": str(source.path), "num_frames": 17}
    clip |= {"start_pts": span.start_pts, "end_pts": span.end_pts, "time_base": str(span.time_base)}
    clip |= {"frames_hash": frames_hash(source.hashes[3:20]), "width": 64, "height": 48}
    stat = source.path.stat()
    clip |= {"as_listed": (stat.st_size, etag(stat)), "picture_format": None, "interlaced": False}

    def run(error: Exception | None):
        def call(function, *args, **how):
            if error and any(getattr(arg, "audio", None) == "keep" for arg in args):
                raise error
            return real(function, *args, **how)

        monkeypatch.setattr(child, "call", call)
        return ShardWriter(cfg.dataset, cfg, fingerprints(cfg))._cut(clip, tmp_path)

    return run


@pytest.mark.parametrize(
    "error",
    [
        MediaError(Reason.CRASHED, "signal 11"),
        MediaError(Reason.TIMED_OUT, "120 s"),
        ChildError("a fault"),
    ],
)
def test_a_process_that_sound_ends_makes_way_for_one_that_cuts_the_pictures_alone(cut, error):
    mp4, how, sound = cut(error)
    assert (how["cut_method"], sound) == ("copy", f"left out: {error}")
    with av.open(io.BytesIO(mp4)) as container:
        assert not container.streams.audio
        assert len(list(container.decode(video=0))) == 17


def test_sound_that_does_no_harm_is_kept_and_pictures_that_are_wrong_are_not_tried_again(cut):
    assert cut(None)[2] == "kept"
    with pytest.raises(MediaError, match="the source"):
        cut(MediaError(Reason.UNFAITHFUL, "the source shows others"))
