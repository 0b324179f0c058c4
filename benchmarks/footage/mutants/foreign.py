"""What points elsewhere, or is something else: playlists, scripts, references to files and addresses, decoys,
odd names.

In: a draw; what is pointed to is its `outside`. Out: bytes, or bytes with a name. Who follows any of it has
lost.
"""

import json
import struct
from random import Random

from benchmarks.footage.mutants.kinds import Draw, File, Outside, kind
from tests.support.edit_bytes import edit_boxes, join

_NAMES = ("mp4", "mkv", "ts", "avi", "mov", "webm", "mpg", "flv", "ogv", "m3u8", "mpd", "sdp", "txt", "")


def _scripts(outside: Outside, where: str) -> dict[str, str]:
    """What FFmpeg reads as instructions to open something else."""
    return {
        "hls": f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{where}\n#EXT-X-ENDLIST\n",
        "hls_master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{where}\n",
        "hls_key": f'#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=AES-128,URI="{where}"\n'
        f'#EXTINF:2,\n{where}\n',
        "hls_map": f'#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="{where}"\n'
        f'#EXTINF:2,\n{where}\n#EXT-X-ENDLIST\n',
        "concat": f"ffconcat version 1.0\nfile '{where}'\nduration 2\n",
        "concat_options": f"ffconcat version 1.0\nfile '{where}'\noption protocol_whitelist file,http,tcp\n",
        "concat_bare": f"file '{where}'\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        '<Period><AdaptationSet '
        f'mimeType="video/mp4"><Representation id="1" bandwidth="1">'
        f'<BaseURL>{where}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
        "smooth": (
            '<SmoothStreamingMedia MajorVersion="2"><StreamIndex Type="video" '
            f'Url="{where}"/></SmoothStreamingMedia>'
        ),
        "imf": (
            '<?xml '
            f'version="1.0"?><AssetMap><AssetList><Asset><Path>{where}</Path></Asset></AssetList></AssetMap>'
        ),
        "asx": f'<asx version="3.0"><entry><ref href="{where}"/></entry></asx>',
        "pls": f"[playlist]\nFile1={where}\nNumberOfEntries=1\n",
        "ram": f"{where}\n",
        "sdp": (
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP "
            "96\na=rtpmap:96 H264/90000\n"
        ),
        "avisynth": f'FFVideoSource("{where}")\n',
        "vapoursynth": f"import vapoursynth as vs\nvs.core.ffms2.Source({where!r}).set_output()\n",
        "edit_list": json.dumps({"timeline": [{"source": where, "in": 0, "out": 48}]}),
        "edl": f"TITLE: CUT\n001  AX V C 00:00:00:00 00:00:02:00\n* FROM CLIP NAME: {where}\n",
        "mpv_edl": f"# mpv EDL v0\n{where},0,2\n",
        "reference_movie": f"RTSPtextRTSP://{where}\n",
    }  # fmt: skip


def _somewhere(rng: Random, outside: Outside) -> str:
    near = "../" * rng.randint(1, 12) + outside.path.lstrip("/")
    ways = (
        outside.path,
        outside.url,
        f"file://{outside.path}",
        f"file:{outside.path}",
        near,
        f"concat:{outside.path}|{outside.path}",
    )
    return rng.choice(
        (
            *ways,
            f"crypto:{outside.path}",
            f"subfile,,start,0,end,0,,:{outside.path}",
            f"tcp://{outside.url[7:]}",
        )
    )


@kind()
def playlist(draw: Draw) -> File:
    """Instructions under the name of a video."""
    where = _somewhere(draw.rng, draw.outside)
    scripts = _scripts(draw.outside, where)
    text = scripts[draw.rng.choice(sorted(scripts))]
    before = draw.rng.choice(("", "", "", "\n", " ", "\ufeff", "\r\n", "\x00"))
    return File(draw.rng.choice(_NAMES), (before + text).encode() + b"\n" * draw.rng.randrange(20))


@kind()
def playlist_in_disguise(draw: Draw) -> File:
    """Instructions behind the first bytes of a video, or a video behind instructions."""
    where = _somewhere(draw.rng, draw.outside)
    text = draw.rng.choice(list(_scripts(draw.outside, where).values())).encode()
    data, how = draw.base.data, draw.rng.randrange(5)
    if how == 0:
        data = data[: draw.rng.choice((4, 8, 12, 16, 32, 64))] + text * draw.rng.choice((1, 200))
    elif how == 1:
        data = text + data
    elif how == 2:  # a box around it
        data = join([(b"ftyp", b"isom\x00\x00\x02\x00isom"), (b"free", text), (b"moov", text)])
    elif how == 3:  # sync bytes where those of a transport stream are
        packets = [b"G" + text[k : k + 187].ljust(187, b"\n") for k in range(0, len(text), 187)]
        data = b"".join(packets) * 12
    else:
        data = text.ljust(draw.rng.choice((4, 8)), b" ")[:4] + b"ftyp" + text + data
    return File(draw.rng.choice(_NAMES), data)


@kind("mov")
def data_elsewhere(draw: Draw) -> bytes:
    """A movie whose pictures lie in another file, or at an address (ISO/IEC 14496-12, 8.7.2; QuickTime's
    aliases)."""
    where = _somewhere(draw.rng, draw.outside)
    form = draw.rng.choice((b"url ", b"urn ", b"alis", b"rsrc", b"imdt"))
    entry = bytes(4) + (_alias(draw.outside.path) if form in (b"alis", b"rsrc") else where.encode() + b"\0")

    def change(name: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
        if name == b"dref":
            content = struct.pack(">II", 0, 1) + join([(form, entry)])
        if name == b"stco" and draw.rng.random() < 0.5:
            content = content[:8] + b"".join(struct.pack(">I", 48) for _ in range((len(content) - 8) // 4))
        return [(name, content)]

    return edit_boxes(draw.base.data, change)


def _alias(path: str) -> bytes:
    """An alias record of the old Macintosh, as FFmpeg reads one: volume, name, and the path as items 2 and
    18."""
    name = path.rpartition("/")[2].encode()[:63]
    record = (
        bytes(4) + struct.pack(">HH", 150, 2) + bytes(2) + bytes([4]) + b"disk".ljust(27, b"\0") + bytes(12)
    )
    record += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16) + struct.pack(">HH", 0, 0) + bytes(16)
    for item in (2, 18):
        text = path.replace("/", ":" if item == 2 else "/").encode()
        record += struct.pack(">HH", item, len(text)) + text + bytes(len(text) % 2)
    return record + struct.pack(">H", 0xFFFF)


@kind("mov")
def movie_of_references(draw: Draw) -> bytes:
    """A QuickTime movie that only says where the movie is (`rmra`), instead of its index or before it."""
    where = _somewhere(draw.rng, draw.outside).encode() + b"\0"
    rdrf = (
        struct.pack(">I4sI", draw.rng.choice((0, 1)), draw.rng.choice((b"url ", b"alis")), len(where)) + where
    )
    rmra = join([(b"rmra", join([(b"rmda", join([(b"rdrf", rdrf)]))]))])
    if draw.rng.random() < 0.5:
        return join([(b"ftyp", b"qt  \x00\x00\x02\x00qt  "), (b"moov", rmra)])
    return edit_boxes(
        draw.base.data,
        lambda name, content: [(name, rmra + content)] if name == b"moov" else [(name, content)],
    )


@kind("matroska")
def linked_segments(draw: Draw) -> bytes:
    """A Matroska segment that says which files come before and after it, with a playlist attached (RFC 9559,
    5.1.2)."""
    where = _somewhere(draw.rng, draw.outside).encode()

    def element(name: str, content: bytes) -> bytes:
        return bytes.fromhex(name) + (len(content) | 1 << 56).to_bytes(8, "big") + content

    info = element("3cb923", draw.rng.randbytes(16)) + element("3c83ab", where) + element("3e83bb", where)
    info = element("1549a966", element("2ad7b1", b"\x0f\x42\x40") + info)
    script = _scripts(draw.outside, where.decode())["hls"].encode()
    attached = element(
        "61a7",
        element("466e", where)
        + element("4660", b"video/mp4")
        + element("465c", script)
        + element("46ae", b"\1"),
    )
    segment = next(part for part in draw.base.parts if part.kind == bytes.fromhex("18538067"))
    return (
        draw.base.data[: segment.body] + info + element("1941a469", attached) + draw.base.data[segment.body :]
    )


@kind("asf", "flv", "ogg", "mxf", "avi")
def address_inside(draw: Draw) -> bytes:
    """Addresses and paths over whatever the file has for text and tags."""
    where = _somewhere(draw.rng, draw.outside)
    text = draw.rng.choice((where.encode(), where.encode("utf-16-le")))
    data = draw.base.data
    for _ in range(draw.rng.randint(1, 4)):
        at = draw.rng.randrange(min(len(data), 3000))
        data = data[:at] + text + data[at + draw.rng.choice((0, len(text))) :]
    return data


@kind()
def decoy(draw: Draw) -> File:
    """No video at all, under the name of one."""
    rng = draw.rng
    text = " ".join(
        rng.choice(("dear", "diary", "today", "rain", "and", "sun")) for _ in range(rng.randint(1, 400))
    )
    contents = (
        text.encode(),
        json.dumps({"text": text}).encode(),
        f"<html><body>{text}</body></html>".encode(),
        b"PK\x03\x04" + rng.randbytes(400),
        b"\x7fELF" + rng.randbytes(400),
        b"%PDF-1.7\n" + text.encode(),
        b"\x89PNG\r\n\x1a\n" + rng.randbytes(300),
        b"\xff\xd8\xff\xe0" + rng.randbytes(300),
        b"GIF89a" + rng.randbytes(300),
        b"ID3\x04" + rng.randbytes(3000),
        b"RIFF" + struct.pack("<I", 300) + b"WAVE" + rng.randbytes(300),
        b"WEBVTT\n\n00:00.000 --> 00:02.000\n" + text.encode(),
        b"#!/bin/sh\necho " + text.encode() + b"\n",
        b"\x1f\x8b\x08" + rng.randbytes(300),
    )
    return File(rng.choice(_NAMES), rng.choice(contents))


_STEMS = (
    "-i", "--help", "a b", " leading", "trailing ", "new\nline", "tab\t", "quote'\"", "$(touch x)", "`id`",
    "a;b", "a|b", "%03d",
    "%s%n", "*", "[a]", "?x", "#hash", "concat:a|b", "http:x", "file:x", "pipe:0", "data:,x", "é", "e\u0301",
    "片", "\u202egpj",
    "\u200b", "😀", "x" * 230, "nul\x01", "a,b", "CON", "=cmd()", "{0}", "\\", "\udcff\udcfe",
)  # fmt: skip


@kind()
def odd_name(draw: Draw) -> File:
    """Names that shells, globs, URLs, tables and encodings stumble over; the last is no text at all."""
    return File(draw.base.suffix, draw.base.data + draw.rng.randbytes(2), stem=draw.rng.choice(_STEMS))
