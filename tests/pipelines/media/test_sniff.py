"""Only containers on the list are opened, and nothing that a file points to."""

import struct
from pathlib import Path

import av
import pytest

from pipelines.errors import MediaError, Reason
from pipelines.media.config import FootageConfig
from pipelines.media.probe import open_container, probe
from pipelines.media.read_clock import read_clock
from pipelines.media.sniff import HEAD_BYTES, sniff
from tests.support.edit_bytes import boxes, edit_boxes, join
from tests.support.footage import pan, write

FRAMES = pan(1, 20, 48, 64)
RENDERED = {
    "mp4": ("libx264", "mov"),
    "mov": ("libx264", "mov"),
    "m4v": ("libx264", "mov"),
    "mkv": ("libx264", "matroska"),
    "webm": ("libvpx", "matroska"),
    "avi": ("mpeg4", "avi"),
    "ts": ("mpeg2video", "mpegts"),
    "mpg": ("mpeg2video", "mpeg"),
    "m2v": ("mpeg2video", "mpegvideo"),
    "flv": ("libx264", "flv"),
    "asf": ("wmv2", "asf"),
    "mxf": ("mpeg2video", "mxf"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sniff")


def why(path) -> MediaError:
    with pytest.raises(MediaError) as caught:
        probe(path, "v", FootageConfig())
    return caught.value


@pytest.mark.parametrize("suffix", RENDERED)
def test_every_container_on_the_list_is_known_by_its_first_bytes(folder, suffix):
    codec, demuxer = RENDERED[suffix]
    path = write(folder / f"a.{suffix}", FRAMES, codec=codec)
    path = path.rename(folder / f"{suffix}.renamed")
    assert sniff(path.read_bytes()[:HEAD_BYTES]) == demuxer
    assert len(read_clock(path).pts) == 20


@pytest.mark.parametrize("kind", [b"styp", b"sidx", b"moof", b"prft", b"emsg"])
def test_a_segment_of_a_stream_is_an_iso_file(kind):
    assert sniff(struct.pack(">I4s", 24, kind) + b"msdhmsix" + bytes(64)) == "mov"


def test_a_segment_with_its_header_behind_a_brand_of_its_own_is_taken(folder):
    whole = folder / "fragments.mp4"
    with av.open(
        str(whole), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    ) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    styp = struct.pack(">I4s4sI4s", 20, b"styp", b"msdh", 0, b"msdh")
    (folder / "styp.mp4").write_bytes(styp + whole.read_bytes())
    assert len(read_clock(folder / "styp.mp4").pts) == len(read_clock(whole).pts) == 20


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\x00\x00\x00\x01\x67\x64\x00\x0a", "raw H.264"),
        (b"\x00\x00\x01\x09\xf0\x00", "raw H.264"),
        (b"\x00\x00\x00\x01\x40\x01\x0c", "raw H.265"),
        (b"\x00\x00\x00\x01\x46\x01\x50", "raw H.265"),
        (b"DKIF\x00\x00\x20\x00VP80", "IVF"),
        (b"nut/multimedia container\x00", "NUT"),
        (b"YUV4MPEG2 W64 H48 F25:1", "YUV4MPEG"),
    ],
)
def test_streams_that_tell_of_no_times_are_called_by_their_name(head, said):
    with pytest.raises(MediaError, match=f"the content is {said}") as caught:
        sniff(head + bytes(64))
    assert caught.value.reason == Reason.UNREADABLE


@pytest.mark.parametrize(
    "front", [b"ID3\x04\x00\x00\x00\x00\x00\x3f" + bytes(63), b"\x47" * 100, bytes(1000)]
)
def test_a_transport_stream_may_begin_with_a_tag_or_a_torn_packet(folder, front):
    path = write(folder / "plain.ts", FRAMES, codec="mpeg2video")
    path.write_bytes(front + path.read_bytes())
    assert sniff(path.read_bytes()[:HEAD_BYTES]) == "mpegts"
    assert len(read_clock(path).pts) == 20


def test_a_blu_ray_stream_has_a_time_in_front_of_each_packet(folder):
    data = write(folder / "disc.ts", FRAMES, codec="mpeg2video").read_bytes()
    path = folder / "disc.m2ts"
    path.write_bytes(b"".join(struct.pack(">I", k) + data[k * 188 :][:188] for k in range(len(data) // 188)))
    assert sniff(path.read_bytes()[:HEAD_BYTES]) == "mpegts"
    assert len(read_clock(path).pts) == 20


def still(name: str, codec: str, pixel_format: str, tmp) -> bytes:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 32, 32, pixel_format, 1
    picture = av.VideoFrame.from_ndarray(FRAMES[0][:32, :32].copy(), format="rgb24").reformat(
        format=pixel_format
    )
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"dear diary, " * 20, "text"),
        (b"#EXTM3U\n#EXTINF:10,\nsecret.ts\n#EXT-X-ENDLIST\n", "playlist"),
        (b"ffconcat version 1.0\nfile 'secret.ts'\n", "join"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "text"),
        (b'<?xml version="1.0"?><MPD></MPD>', "markup"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "WAV"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "WebP"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIF"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf", "AVIF"),
        (bytes(range(256)) * 8, "no known container"),
    ],
)
def test_what_is_no_video_is_refused_and_called_by_its_name(folder, content, said):
    path = folder / "content.mp4"
    path.write_bytes(content)
    error = why(path)
    assert error.reason == Reason.UNREADABLE
    assert said in error.message


@pytest.mark.parametrize(
    ("codec", "pixel_format", "said"),
    [("png", "rgb24", "PNG"), ("mjpeg", "yuvj420p", "JPEG"), ("gif", "rgb8", "GIF")],
)
def test_a_picture_is_no_video(folder, codec, pixel_format, said):
    path = folder / f"{codec}.mp4"
    if codec == "gif":
        write(folder / "a.gif", FRAMES[:2], codec="gif", pixel_format=pixel_format).rename(path)
    else:
        path.write_bytes(still(codec, codec, pixel_format, folder))
    error = why(path)
    assert error.reason == Reason.UNREADABLE
    assert said in error.message


def test_a_playlist_behind_a_movie_header_is_not_followed(folder):
    write(folder / "secret.ts", FRAMES, codec="mpeg2video")
    playlist = b"\n#EXTM3U\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n"
    path = folder / "hidden.mp4"
    path.write_bytes(join([(b"ftyp", b"isom\x00\x00\x02\x00isomiso2")]) + playlist)
    assert why(path).reason in (Reason.TRUNCATED, Reason.UNREADABLE)
    (folder / "list.ts").write_bytes(playlist.lstrip() + b"\x47" + bytes(187))
    assert why(folder / "list.ts").reason == Reason.UNREADABLE


def alias(name: bytes) -> bytes:
    """A Macintosh alias record of a file in the same folder, as FFmpeg reads it from a data reference."""
    record = bytes(10) + bytes((6,)) + b"volume".ljust(27, b"\0") + bytes(12)
    record += bytes((len(name),)) + name.ljust(63, b"\0") + bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    return (
        record + struct.pack(">hh", 2, len(name)) + name + b"\0" * (len(name) % 2) + struct.pack(">hh", -1, 0)
    )


def test_a_movie_whose_pictures_lie_in_another_file_is_not_followed_there(folder):
    secret = write(folder / "secret.mov", FRAMES, codec="mpeg4")

    def refer(kind, content):
        if kind == b"mdat":
            return []
        if kind == b"dref":
            content = struct.pack(">II", 0, 1) + join([(b"alis", bytes(4) + alias(b"secret.mov"))])
        return [(kind, content)]

    path = folder / "refers.mov"
    path.write_bytes(edit_boxes(secret.read_bytes(), refer))
    assert b"mdat" not in {kind for kind, _ in boxes(path.read_bytes())}
    with av.open(str(path), options={"enable_drefs": "1"}) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20  # a reader that follows it sees the secret
    with open_container(path) as container:
        assert not any(packet.size for packet in container.demux(container.streams.video[0]))
    assert why(path).reason in (Reason.NO_FRAMES, Reason.UNDECODABLE)


def test_attachments_are_no_video_and_do_no_harm(folder):
    path = folder / "attached.mkv"
    with av.open(str(path), "w") as muxer:
        stream = muxer.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        muxer.add_attachment("cover.png", "image/png", still("png", "png", "rgb24", folder))
        muxer.add_attachment("font.ttf", "application/x-truetype-font", bytes(100))
        for k, frame in enumerate(FRAMES):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = k
            muxer.mux(stream.encode(picture))
        muxer.mux(stream.encode(None))
    assert len(read_clock(path).pts) == 20
    assert probe(path, "v", FootageConfig()).width == 64


@pytest.mark.parametrize(
    "name", ["file:secret.ts", "concat:secret.ts|secret.ts", "subfile,,start,0,end,0,,:secret.ts"]
)
def test_a_file_name_is_no_protocol(folder, monkeypatch, name):
    (folder / "names").mkdir(exist_ok=True)
    monkeypatch.chdir(folder / "names")
    write(Path("secret.ts"), FRAMES, codec="mpeg2video")
    write(folder / "five.ts", FRAMES[:5], codec="mpeg2video").rename(Path(name).absolute())
    assert len(read_clock(Path(name)).pts) == 5
