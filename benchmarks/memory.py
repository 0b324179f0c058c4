"""Memory of a curation worker: over 500 videos, and for 10 seconds against 2 hours of the same content.

    make bench BENCH=memory

One process takes sources through hash, header, signals, shots and clips as a Ray worker does, one after
another. Measured are its own resident memory and the peak of the children that decode for it. The long video
is the short one's packets over and over, so nothing differs but the length. Takes about a quarter of an hour.
"""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import av

from benchmarks.measure.results_file import report
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import fingerprints
from pipelines.precision import AUTO, decide
from tests.support.footage import real_clips

VIDEOS, EVERY = 500, 50
SHORT_S, LONG_S = 10, 7200
MIB = 1024**2

# A process of its own, so that nothing else is in its memory.
WORKER = """
import json, sys
from pathlib import Path
from jobs.curation.analysis import SourceAnalyzer
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import Fingerprints
from pipelines.footage.listing import find_footage
from pipelines.sandbox import child

def resident():
    return next(int(line.split()[1]) * 1024 for line in open('/proc/self/status') if line.startswith('VmRSS'))

def peak():
    return next(int(line.split()[1]) * 1024 for line in open('/proc/self/status') if line.startswith('VmHWM'))

footage, dataset, every, prints = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
cfg = CurateConfig(footage=footage, dataset=dataset, precision=sys.argv[5])
analyst = SourceAnalyzer(dataset, cfg, Fingerprints(**prints))
sources = find_footage(footage, None).sources
own, children = [], 0
for number, source in enumerate(sources, 1):
    for part in analyst.split_units(analyst.identify(source)):
        found = analyst.measure(part)
        assert found.quarantined is None, found.quarantined
        children = max(children, child.peak_bytes())
    assert found.clips
    if number % every == 0:
        own.append(resident())
print(json.dumps({'resident': own, 'peak': peak(), 'children': children, 'clips': len(found.clips)}))
"""


def worker(footage: Path, every: int = 1) -> dict:
    """What a fresh worker used for a folder of footage."""
    with tempfile.TemporaryDirectory() as dataset:
        precision = decide(AUTO).name
        prints = fingerprints(CurateConfig(precision=precision))  # as the driver gives them to a Ray worker
        command = [
            sys.executable,
            "-c",
            WORKER,
            str(footage),
            dataset,
            str(every),
            json.dumps(asdict(prints)),
            precision,
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def repeat(source: Path, target: Path, duration_s: float) -> None:
    """The video's packets again and again, as they are, until it is so long."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = read.streams.video[0]
        out = written.add_stream_from_template(stream)
        packets = [packet for packet in read.demux(stream) if packet.size]
        start = min(packet.dts for packet in packets)
        step = max(packet.pts + packet.duration for packet in packets) - min(packet.pts for packet in packets)
        data = [
            (bytes(packet), packet.pts, packet.dts - start, packet.duration, packet.is_keyframe)
            for packet in packets
        ]
        for turn in range(round(duration_s / float(step * stream.time_base))):
            for content, pts, dts, duration, key in data:
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.duration = (
                    pts + turn * step,
                    dts + start + turn * step,
                    duration,
                )
                packet.time_base, packet.is_keyframe, packet.stream = stream.time_base, key, out
                written.mux(packet)


def many(source: Path, folder: Path, count: int) -> None:
    """Copies that differ in a `free` box at their end, which no decoder reads: as many different videos."""
    for number in range(count):
        path = folder / f"{number:04d}.mp4"
        shutil.copyfile(source, path)
        with path.open("ab") as file:
            file.write(struct.pack(">I4sI", 12, b"free", number))


def main() -> None:
    clip = real_clips()["carphone_pristine.mp4"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, length_s in (("short", SHORT_S), ("long", LONG_S)):
            (folder / name).mkdir()
            repeat(clip, folder / name / "a.mp4", length_s)
        (folder / "tiny").mkdir()
        repeat(clip, folder / "one.mp4", 4)
        (folder / "many").mkdir()
        many(folder / "one.mp4", folder / "many", VIDEOS)
        print(f"memory: {VIDEOS} videos of 4 s", flush=True)
        over = worker(folder / "many", EVERY)
        print("memory: 10 s", flush=True)
        short = worker(folder / "short")
        print("memory: 2 h", flush=True)
        long = worker(folder / "long")
    report(
        "memory",
        {
            "resident_mib_after_50_videos": round(over["resident"][0] / MIB, 1),
            "resident_mib_after_500_videos": round(over["resident"][-1] / MIB, 1),
            "growth_over_450_videos": round(over["resident"][-1] / over["resident"][0], 3),
            "worker_peak_mib_10s": round(short["peak"] / MIB, 1),
            "worker_peak_mib_2h": round(long["peak"] / MIB, 1),
            "child_peak_mib_10s": round(short["children"] / MIB, 1),
            "child_peak_mib_2h": round(long["children"] / MIB, 1),
            "child_peak_2h_over_10s": round(long["children"] / short["children"], 3),
        },
    )


if __name__ == "__main__":
    main()
