"""Curation against NeMo Curator's video pipeline, and against decoding alone: speed, memory, and what each
stage costs.

Goals: the same work (cut, motion, write) at least 10 × as fast as NeMo Curator; the full embedded default
(every score that needs no download, tags, captions, copies, shards) at least 3 × as fast as NeMo's small
subset, and at most 10 × the floor.

    python -m benchmarks.curate [footage=<folder>] [height=720] [repeats=3] [peer_repeats=2] [profile=true]

Footage: real clips of Python packages in mixed codecs, 4.5 minutes, or the videos of a folder. Decoding and
transcoding depend on its size, what models look at does not: `height` tells how large the longest of the
clips is made. Every run is a fresh process with a fresh Ray, which is up, as what will be run is imported,
before its time begins; every dataset is new. The two sides and the floor take turns. Figures are medians; all
times are printed.

- `same work`: a clip every 10 s (the detector runs, but no change is enough for it), cut without loss, dense
  optical flow, shards; nothing rejected.
- `full`: `rushes curate` with no key but footage and dataset.
- `NeMo Curator`: see benchmarks/peers/nemo_pipeline.py. It is told of 8 processors whatever the machine has,
  as its stages' own requests (6 + 1 + 0.25) are never met on fewer. With libopenh264, which it recommends on
  processors; x264 once, for comparison.
- `floor`: see benchmarks/measure/curate_floor.py.
- cold start: the whole command `rushes curate` without a Ray, less the same work with Ray up: Python,
  imports, Ray's start and end.
- `profile=true` measures only what stages cost, see benchmarks/measure/curate_stages.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.footage.curate_footage import HEIGHT, make_footage, take_footage, videos
from benchmarks.measure.curate_floor import floor_s, length_s
from benchmarks.measure.curate_memory import Peak
from benchmarks.measure.results_file import report
from benchmarks.peers.nemo_venv import nemo_bin

ROOT = Path(__file__).resolve().parent.parent
HEIGHTS = ("360", "720", "1080")
NEMO_CPUS = 8
NEMO_DEADLINE_S = 1800.0
SAME_WORK = (
    "shots.detector=content",
    "shots.content_threshold=255",
    "clips.max_s=10",
    "scores.text=false",
    "scores.nsfw=false",
    "scores.tags=false",
    "recipe=permissive",
    "dedup.perceptual=false",
    "captioner.name=own_text",
)
HEADINGS = ("what", "median s", "all s", "processor s in all", "peak MiB", "clips")
SETUPS: dict[str, Sequence[str]] = {"same": SAME_WORK, "full": ()}


@dataclass
class Times:
    """All that was measured: seconds of every repeat, and the largest memory in MiB, by what was run."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    mib: dict[str, float] = field(default_factory=dict)
    clips: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, seconds: float, peak: Peak | None = None, clips: int = 0) -> None:
        self.seconds[name].append(seconds)
        said = f"{name}: {seconds:.2f} s"
        if peak is not None:
            self.cpu_s[name].append(peak.cpu_s)
            self.mib[name] = max(peak.mib, self.mib.get(name, 0.0))
            self.clips[name] = clips
            said += (
                f", {peak.cpu_s:.1f} processor seconds with all that starts before, {peak.mib:.0f} MiB, "
                f"{clips} clips"
            )
        print(said, flush=True)

    def median(self, name: str) -> float:
        return median(self.seconds[name])


def main() -> None:
    options = {"footage": "", "height": str(HEIGHT), "repeats": "3", "peer_repeats": "2", "profile": "false"}
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        if name not in options:
            raise SystemExit(
                f"{argument}: known are footage=<folder>, height=720, repeats=3, peer_repeats=2, profile=true"
            )
        if name.endswith("repeats") and not (value.isdecimal() and int(value)):
            raise SystemExit(f"{argument}: at least 1")
        if name == "height" and value not in HEIGHTS:
            raise SystemExit(f"{argument}: one of {', '.join(HEIGHTS)}")
        options[name] = value
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what it started ends with it
    with tempfile.TemporaryDirectory(prefix="rb-") as scratch:
        footage = Path(scratch, "footage")
        footage.mkdir()
        if options["footage"]:
            take_footage(Path(options["footage"]), footage)
        else:
            make_footage(footage, int(options["height"]))
        files = videos(footage)
        footage_s = length_s(files)
        print(f"{len(files)} videos, {footage_s:.1f} s", flush=True)
        if options["profile"] == "true":
            for name in SETUPS:
                print_costs(name, stage_costs(name, footage, Path(scratch)))
            return
        figures = {"footage_s": footage_s, "videos": len(files)}
        times = Times()
        nemo = nemo_bin()
        for turn in range(int(options["repeats"])):
            for way, seconds in floor_s(files).items():
                times.add(f"floor, {way}", seconds)
            for name in SETUPS:
                ours(name, footage, Path(scratch), times)
            cold("same", footage, Path(scratch), times)
            if turn < int(options["peer_repeats"]):
                theirs(nemo, "libopenh264", footage, Path(scratch), times)
        theirs(nemo, "libx264", footage, Path(scratch), times)
        figures |= figures_of(times)
        for name in SETUPS:
            costs = stage_costs(name, footage, Path(scratch))
            print_costs(name, costs)
            figures |= {f"{name}_cpu_s_per_hour_{_key(stage)}": value for stage, value in costs.items()}
    own = not options["footage"] and options["height"] == str(HEIGHT)
    name = "curate" if own else f"curate_{Path(options['footage']).name or options['height']}"
    report(name, figures, [_row(name, times) for name in times.seconds], HEADINGS)


def ours(name: str, footage: Path, scratch: Path, times: Times) -> None:
    """One run with Ray up."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        keys = [f"footage={footage}", f"dataset={folder}/dataset", *SETUPS[name]]
        with Peak() as peak:
            said = _last_line(
                [sys.executable, "-m", "benchmarks.measure.curate_run", *keys], os.environ | peak.env
            )
    _check(said["ledger"], footage)
    times.add(name, said["seconds"], peak, said["ledger"]["clips_kept"])


def cold(name: str, footage: Path, scratch: Path, times: Times) -> None:
    """The whole command, from the start of its process to the end."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        rushes = Path(sys.executable).with_name("rushes")
        command = [str(rushes), "curate", f"footage={footage}", f"dataset={folder}/dataset", *SETUPS[name]]
        start_s = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        times.add(f"{name}, the whole command", time.perf_counter() - start_s)


def theirs(programs: Path, encoder: str, footage: Path, scratch: Path, times: Times) -> None:
    """One run of the peer with Ray up."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder, tempfile.TemporaryDirectory(prefix="rn-") as ray:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        }
        script = ROOT / "benchmarks" / "nemo_pipeline.py"
        command = [str(programs / "python"), str(script), str(footage), folder, encoder, str(NEMO_CPUS), ray]
        with Peak() as peak:
            said = _last_line(command, environment | peak.env, NEMO_DEADLINE_S)
    if not said["clips"] or said["failed"] or said["videos"] != len(videos(footage)):
        raise RuntimeError(f"NeMo Curator did not do all of the {len(videos(footage))} videos: {said}")
    print(f"NeMo Curator: {said}", flush=True)
    times.add(f"NeMo Curator, {encoder}", said["seconds"], peak, said["clips"])


def stage_costs(name: str, footage: Path, scratch: Path) -> dict[str, float]:
    """Processor seconds per hour of footage by stage, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        keys = [f"footage={footage}", f"dataset={folder}/dataset", *SETUPS[name]]
        return _last_line([sys.executable, "-m", "benchmarks.measure.curate_stages", *keys], os.environ)


def print_costs(name: str, costs: Mapping[str, float]) -> None:
    print(f"{name}: processor seconds per hour of footage")
    for stage, value in sorted(costs.items(), key=lambda item: -item[1]):
        print(f"  {stage:36s} {value:8.1f}", flush=True)


def figures_of(times: Times) -> dict[str, float]:
    """By name."""
    same, full, nemo = times.median("same"), times.median("full"), times.median("NeMo Curator, libopenh264")
    floor = min(times.median(name) for name in times.seconds if name.startswith("floor"))
    return {
        "same_work_speedup_vs_nemo": nemo / same,
        "full_speedup_vs_nemo": nemo / full,
        "full_over_decode_floor": full / floor,
        "cold_start_s": times.median("same, the whole command") - same,
        "peak_mib": max(times.mib[name] for name in SETUPS),
        "nemo_peak_mib": times.mib["NeMo Curator, libopenh264"],
        "same_work_s": same,
        "full_s": full,
        "nemo_s": nemo,
        "nemo_x264_s": times.median("NeMo Curator, libx264"),
        "decode_floor_s": floor,
        "same_work_cpu_s": median(times.cpu_s["same"]),
        "full_cpu_s": median(times.cpu_s["full"]),
        "nemo_cpu_s": median(times.cpu_s["NeMo Curator, libopenh264"]),
    }


def _row(name: str, times: Times) -> tuple[str, ...]:
    seconds = times.seconds[name]
    row = (name, f"{median(seconds):.2f}", " ".join(f"{value:.2f}" for value in seconds))
    if name not in times.mib:
        return (*row, "", "", "")
    return (*row, f"{median(times.cpu_s[name]):.1f}", f"{times.mib[name]:.0f}", str(times.clips[name]))


def _check(ledger: Mapping[str, int], footage: Path) -> None:
    """A run that set videos aside was not measured on the same footage."""
    if ledger["videos"] + ledger["duplicates"] != len(videos(footage)):
        raise RuntimeError(f"not all of {footage} was curated: {dict(ledger)}")


def _last_line(
    command: Sequence[str], environment: Mapping[str, str], deadline_s: float | None = None
) -> dict:
    """What a program says in its last line of output, as JSON.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        command,
        env=dict(environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=deadline_s,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _key(stage: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in stage).split())


if __name__ == "__main__":
    main()
