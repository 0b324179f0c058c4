"""What cutting costs and what it loses: our lossless cut against transcoding and against a plain stream copy.

`python -m benchmarks.cut [size=small] [footage=<folder> …]`

Footage: films of the embedded real clips, one per codec, as encoders write them by default; and every video
of the folders given. Films are cut at their shots, longer shots in two; other videos at arbitrary frames, 2
to 8 s apart, which is the worst case for copying. Times are processor seconds, so that neighbours on the
machine don't count.

- `ours`: `pipelines.cutting.cut.cut`, verification included. (The hashes that it verifies against, the clock,
  and how pictures are shown come from the pass that measures signals, so they are not counted.)
- `transcode`: seek, decode, x264 at the same rate factor and preset, with its own B-frames; as `ffmpeg -ss
  -to -c:v libx264` does, one clip after another. On one thread, and on as many as FFmpeg likes.
- `stream copy`: packets from the keyframe before, as `ffmpeg -ss -to -c copy`; not verified, and not the
  clip's frames.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import av
import numpy as np

from benchmarks.measure.results_file import report
from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.cut import Cut, cut
from pipelines.cutting.reencode import ClipContent
from pipelines.errors import MediaError
from pipelines.media.clock import Clock
from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import frames_hash, picture_hash
from pipelines.media.picture_format import PictureFormat, format_of
from pipelines.media.probe import open_container, video_stream
from pipelines.media.read_clock import read_clock
from pipelines.records import Span
from tests.support.footage import real_clips
from tests.support.scheduling import restore_scheduling

HEIGHT, WIDTH, FPS = 360, 640, 25
FILM_S = {"small": 12, "full": 48}
CACHE = Path(".cache/benchmarks/cut")
# A seek in a transport or program stream leads anywhere near; in AVI, to where a packet is decoded.
SEEK_EARLY_S = {"mpegts": 3, "mpeg": 3, "avi": 1}
EQUAL_DB = 100.0  # stands for no difference at all
# Encoders as they come: long groups, keyframes at scene cuts, open groups where that is the default.
CODECS = {
    "h264.mp4": ("libx264", {"crf": "21", "preset": "veryfast"}),
    "h264_2s.ts": ("libx264", {"crf": "21", "preset": "veryfast", "x264-params": "keyint=50:open-gop=1"}),
    "hevc.mp4": ("libx265", {"crf": "26", "preset": "ultrafast", "x265-params": "log-level=none"}),
    "vp9.webm": ("libvpx-vp9", {"crf": "34", "b": "0", "deadline": "realtime", "cpu-used": "7", "g": "128"}),
    "av1.mkv": ("libsvtav1", {"crf": "38", "preset": "11"}),
    "mpeg4.avi": ("mpeg4", {"flags": "+qscale", "global_quality": "472", "g": "12", "bf": "2"}),
}


@dataclass(frozen=True)
class Footage:
    """A source, measured: its clock; of each frame a hash, how it is shown, and whether it is of two fields;
    where to cut it."""

    path: Path
    clock: Clock
    hashes: list[int]
    formats: list[PictureFormat]
    fields: list[bool]
    clips: list[tuple[int, int]]
    late: int
    """How much later FFmpeg says that frames are shown: in AVI it guesses."""

    def span(self, clip: tuple[int, int]) -> Span:
        bounds = [*self.clock.pts.tolist(), self.clock.end_pts]
        return Span(bounds[clip[0]], bounds[clip[1]], self.clock.time_base)


@dataclass
class Account:
    """What one method took and made."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    footage_s: float = 0.0
    size_bytes: int = 0
    clips: int = 0
    failed: int = 0
    bit_exact: int = 0
    wrong_frames: list[int] = field(default_factory=list)
    worst_db: list[float] = field(default_factory=list)

    def row(self, name: str) -> tuple[object, ...]:
        hours = self.footage_s / 3600
        return (
            name,
            f"{self.cpu_s / hours:.0f}",
            f"{self.wall_s / hours:.0f}",
            f"{self.size_bytes / hours / 1e6:.0f}",
            f"{self.bit_exact / self.clips:.3f}",
            f"{min(self.worst_db):.1f}",
            f"{np.mean(self.worst_db):.1f}",
            f"{np.mean(self.wrong_frames):.1f}",
            self.failed,
        )


HEADINGS = (
    "method", "CPU s per hour", "wall s per hour", "MB per hour", "bit-exact clips", "worst frame dB",
    "mean of clips' worst dB", "wrong frames per clip",
    "clips it can't make",
)  # fmt: skip


def film_shots(length_s: float) -> list[np.ndarray]:
    """Shots of 3 to 7 s from the real clips, in turn; uint8 (T, 360, 640, 3)."""
    rng, shots, left = random.Random(1), [], round(length_s * FPS)
    takes = []
    for path in real_clips().values():
        with av.open(str(path)) as container:
            takes.append([p.reformat(WIDTH, HEIGHT, "rgb24").to_ndarray() for p in container.decode(video=0)])
    while left > 0:
        take = takes[len(shots) % len(takes)]
        length = min(left, rng.randrange(3 * FPS, 7 * FPS), len(take))
        start = rng.randrange(len(take) - length + 1)
        shots.append(np.stack(take[start : start + length]))
        left -= length
    return shots


def write_films(folder: Path, length_s: float) -> list[tuple[Path, list[tuple[int, int]]]]:
    """One film per codec, and its shots: made once, then kept."""
    folder.mkdir(parents=True, exist_ok=True)
    shots = film_shots(length_s)
    ends = np.cumsum([len(shot) for shot in shots]).tolist()
    clips = []
    for start, end in zip([0, *ends], ends, strict=False):
        middle = (start + end) // 2
        clips += [(start, middle), (middle, end)] if end - start > 5 * FPS else [(start, end)]
    for name, (codec, options) in CODECS.items():
        if (folder / name).exists():
            continue
        unfinished = folder / f"unfinished_{name}"
        with restore_scheduling(), av.open(str(unfinished), "w") as container:
            stream = container.add_stream(codec, rate=FPS, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for pixels in (frame for shot in shots for frame in shot):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
        unfinished.rename(folder / name)
    return [(folder / name, clips) for name in CODECS]


def measure(path: Path, clips: list[tuple[int, int]] | None = None) -> Footage | None:
    """Decode a source once; None if it is no video that curation takes."""
    try:
        clock = read_clock(path)
        pictures = iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock)
        seen = [(picture_hash(picture), format_of(picture), picture.interlaced_frame) for picture in pictures]
        first = next(_shown(path))
    except MediaError as error:
        print(f"left out: {path.name}: {error}")
        return None
    if clips is None:
        rng, clips, start = random.Random(path.name), [], 0
        rate = len(seen) / clock.duration_s
        while start < len(seen):
            end = min(len(seen), start + round(rate * rng.uniform(2, 8)))
            clips.append((start, end))
            start = end
    late = (first.dts if first.pts is None else first.pts) - int(clock.pts[0])
    hashes, formats, fields = (list(column) for column in zip(*seen, strict=True))
    return Footage(path, clock, hashes, formats, fields, clips, late)


def ours(footage: Footage, clip: tuple[int, int], out: Path) -> Cut:
    name = frames_hash(footage.hashes[clip[0] : clip[1]])
    known = (footage.clock, footage.formats[clip[0]], any(footage.fields[clip[0] : clip[1]]))
    content = ClipContent(footage.span(clip), clip[1] - clip[0], name, *known)
    return cut(footage.path, out, content, CutConfig(), ReencodeConfig())


def transcode(footage: Footage, clip: tuple[int, int], out: Path, threads: int) -> None:
    span, encode = footage.span(clip), ReencodeConfig()
    start, end = span.start_pts + footage.late, span.end_pts + footage.late
    with av.open(str(footage.path)) as source, av.open(str(out), "w") as target:
        stream = video_stream(source)
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO"
        early = start - round(SEEK_EARLY_S.get(source.format.name, 0) / span.time_base)
        if early > (stream.start_time or 0):
            source.seek(early, stream=stream)
        options = {"crf": str(encode.crf), "preset": encode.preset}
        made = target.add_stream("libx264", rate=stream.average_rate, options=options)
        made.width, made.height = stream.width, stream.height
        made.pix_fmt = "yuv444p" if stream.width % 2 or stream.height % 2 else "yuv420p"
        made.codec_context.thread_count = threads
        made.codec_context.time_base = span.time_base
        for picture in source.decode(stream):
            shown_at = picture.dts if picture.pts is None else picture.pts
            if shown_at >= end:
                break
            if shown_at >= start:
                picture.pts, picture.pict_type = shown_at - start, 0
                target.mux(made.encode(picture))
        target.mux(made.encode(None))


def stream_copy(footage: Footage, clip: tuple[int, int], out: Path) -> None:
    span = footage.span(clip)
    with av.open(str(footage.path)) as source, av.open(str(out), "w") as target:
        stream, first = video_stream(source), None
        source.seek(span.start_pts, stream=stream)
        track = target.add_stream_from_template(stream, opaque=True)
        for packet in source.demux(stream):
            if packet.dts is None or packet.dts >= span.end_pts:
                break
            if first is None and not packet.is_keyframe:
                continue
            first = packet.dts if first is None else first
            packet.dts, packet.stream = packet.dts - first, track
            packet.pts = packet.pts - first if packet.pts is not None else None
            target.mux(packet)


def judge(footage: Footage, clip: tuple[int, int], out: Path, account: Account) -> None:
    """Compare what the written clip shows with what the source shows, frame by frame in their order."""
    wanted = footage.hashes[clip[0] : clip[1]]
    try:
        with open_container(out) as container:
            shown = [picture_hash(picture) for picture in container.decode(video_stream(container))]
    except MediaError:
        shown = []
    account.clips += 1
    account.size_bytes += out.stat().st_size
    account.footage_s += footage.span(clip).duration_s
    if shown == wanted:
        account.bit_exact += 1
        account.wrong_frames.append(0)
        account.worst_db.append(EQUAL_DB)
        return
    worst, wrong = EQUAL_DB, abs(len(shown) - len(wanted))
    for source, made in zip_longest(_pictures(footage, clip), _shown(out)):
        if source is None or made is None:
            continue
        if source.format.name != made.format.name or (source.width, source.height) != (
            made.width,
            made.height,
        ):
            source = source.reformat(made.width, made.height, made.format.name)
        error = float(np.mean((_samples(source).astype(np.float32) - _samples(made)) ** 2))
        quality = 10 * np.log10(255**2 / error) if error else EQUAL_DB
        worst, wrong = min(worst, quality), wrong + (quality < 25)  # another instant of moving footage
    account.wrong_frames.append(wrong)
    account.worst_db.append(worst)


def _samples(picture: av.VideoFrame) -> np.ndarray:
    odd = picture.width % 2 or picture.height % 2
    return (picture.reformat(format="yuv444p") if odd else picture).to_ndarray()


def _pictures(footage: Footage, clip: tuple[int, int]) -> Iterator[av.VideoFrame]:
    span = footage.span(clip)
    return iterate_pictures(footage.path, span.start_pts, span.end_pts, footage.clock)


def _shown(out: Path) -> Iterator[av.VideoFrame]:
    with open_container(out) as container:
        yield from container.decode(video_stream(container))


def main() -> None:
    size, folders = "full", []
    for argument in sys.argv[1:]:
        key, _, value = argument.partition("=")
        if key == "size" and value in FILM_S:
            size = value
        elif key == "footage" and Path(value).is_dir():
            folders.append(Path(value))
        else:
            raise SystemExit(f"{argument}: known are size={'|'.join(FILM_S)} and footage=<folder>")
    films = [measure(path, clips) for path, clips in write_films(CACHE / size, FILM_S[size])]
    others = [
        measure(path) for folder in folders for path in sorted(folder.iterdir()) if path.suffix != ".md"
    ]
    methods: dict[str, Callable[[Footage, tuple[int, int], Path], Cut | None]] = {
        "ours": ours,
        "transcode, one thread": lambda *args: transcode(*args, threads=1),
        "transcode, threads": lambda *args: transcode(*args, threads=0),
        "stream copy": stream_copy,
    }
    accounts = {name: Account() for name in methods}
    made: list[tuple[Path, Cut]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "clip.mp4"
        for footage in filter(None, films + others):
            for clip in footage.clips:
                for name, method in methods.items():
                    cpu_s, wall_s = time.process_time(), time.perf_counter()
                    try:
                        how = method(footage, clip, out)
                    except ValueError:  # mp4 does not take the codec
                        accounts[name].failed += 1
                        continue
                    accounts[name].cpu_s += time.process_time() - cpu_s
                    accounts[name].wall_s += time.perf_counter() - wall_s
                    judge(footage, clip, out, accounts[name])
                    if how is not None:
                        made.append((footage.path, how))
    for path in dict.fromkeys(path for path, _ in made):
        here = [how for source, how in made if source == path]
        copied = sum(how.method == "copy" for how in here)
        why = {how.why for how in here if how.why}
        print(f"{path.name}: {copied} of {len(here)} clips copied; {'; '.join(sorted(why)[:3])}")
    copied = [how for _, how in made if how.method == "copy"]
    figures = {
        "speedup_vs_transcode": accounts["transcode, one thread"].cpu_s / accounts["ours"].cpu_s,
        "share_copied": len(copied) / len(made),
        "bit_exact_share": accounts["ours"].bit_exact / accounts["ours"].clips,
        "worst_db": min(accounts["ours"].worst_db),
        "lead_frames_per_clip": float(np.mean([how.lead_frames for _, how in made])),
        "footage_s": accounts["ours"].footage_s,
    }
    for name, account in accounts.items():
        key = name.replace(", ", "_").replace(" ", "_")
        hours = account.footage_s / 3600
        figures |= {
            f"{key}_cpu_s_per_hour": account.cpu_s / hours,
            f"{key}_wall_s_per_hour": account.wall_s / hours,
        }
        figures |= {
            f"{key}_bytes_per_hour": account.size_bytes / hours,
            f"{key}_worst_db": min(account.worst_db),
        }
        figures |= {f"{key}_wrong_frames_per_clip": float(np.mean(account.wrong_frames))}
    report("cut", figures, [account.row(name) for name, account in accounts.items()], HEADINGS)


if __name__ == "__main__":
    main()
