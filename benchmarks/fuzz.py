"""A thousand broken and hostile files through `rushes curate`: none lost, none too slow, none that reaches
outside.

    make bench BENCH=fuzz
    python -m benchmarks.fuzz [--seed 0] [--count 1000] [--kinds single_bits …] [--footage further/file.mp4 …]
    [--keep folder]

Mutants (`benchmarks/footage/mutants`) of small sound files of every container are curated by one job under
strace. Read afterwards: from the dataset alone, what became of each mutant; from the kernel, which files each
decoding process opened, whether it made a socket or started a program, how long each look at a file took and
with what memory. Hostile mutants point to a video and an address that are planted here. What went wrong is
named, and kept with --keep. Needs strace.

Of damaged files it is told as well how much of what can still be shown was taken:
`benchmarks.measure.fuzz_losses` says how the seconds are counted. `kept_share_of_decodable` is what we show ÷
what FFmpeg decodes without calling it made up; `kept_share_of_right` is the same of pictures that have
exactly the samples they had before the damage: who takes all that FFmpeg decodes reaches 1 in both, and takes
`decodable_but_wrong` along; `shown_but_wrong` is the share of ours that has other samples, which is not zero
as long as codecs have no checksums.
"""

import argparse
import json
import shutil
import socket
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.footage.fuzz_bases import bases
from benchmarks.footage.mutants import KINDS, Base, Mutant, Outside, mutants
from benchmarks.measure.fuzz_losses import Comparison, Shown
from benchmarks.measure.results_file import report
from benchmarks.measure.watched import Call, Watched, libraries, watch
from pipelines.dataset.reader import open_dataset

MIB = 1024**2
ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S, DEADLINE_PER_S = 20.0, 2.0  # of a look at a file, and further time for each second of it
SLACK_S = 2.0  # to end a process and to notice it, on a busy machine
_LOW_BYTES_PER_S = (
    100_000  # how long a file may be before its length is known: `pipelines.measure.sandboxed.header_limits`
)
_WHOLE_S, _WHOLE_PER_MUTANT_S = 120.0, 10.0
SETTINGS = (
    "recipe=permissive",  # what decodes is also captioned and cut
    "dedup.perceptual=false",  # mutants of one file are alike
    "cut.audio=keep",
    "ray.num_cpus=2",
    f"limits.deadline_s={DEADLINE_S:g}",
    f"limits.deadline_per_s={DEADLINE_PER_S:g}",
)
_QUICK = ("scores.text=false", "scores.nsfw=false", "scores.tags=false", "captioner=own_text")
# What a library may look at besides its own files.
_SYSTEM = (
    "/proc/self/", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu",
    "/sys/fs/cgroup/",
    "/dev/null", "/dev/urandom", "/etc/ld.so.", "/etc/ssl/openssl.cnf", "/etc/localtime",
    "/usr/share/zoneinfo/",
)  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """What became of a mutant: `status` is kept, rejected, quarantined, duplicate, ignored or unaccounted;
    `shown` is set where it was damaged, see `Fuzz.compare`.
    """

    mutant: Mutant
    status: str = "unaccounted"
    reasons: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    duration_s: float = 0.0
    slowest_s: float = 0.0
    shown: Shown | None = None


@dataclass(slots=True)
class Findings:
    """What must not be: a line each, and the mutants that they are about."""

    outside: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    unaccounted: list[str] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)
    culprits: set[Path] = field(default_factory=set)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of all choices; the same seed makes the same mutants"
    )
    parser.add_argument("--count", type=int, default=1000, help="mutants")
    parser.add_argument(
        "--kinds", nargs="*", default=[], choices=sorted(KINDS), metavar="kind", help="only these mutants"
    )
    parser.add_argument("--footage", type=Path, nargs="*", default=[], help="further sound files to break")
    parser.add_argument(
        "--keep", type=Path, default=None, help="a folder for the mutants that something is wrong with"
    )
    parser.add_argument(
        "--models", action="store_true", help="with text, nudity and tag models; takes three times as long"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz") as scratch, listener() as (address, visits):
        folder = Path(scratch).resolve()
        (folder / "bases").mkdir()
        sound = bases(folder / "bases", tuple(arguments.footage))
        run = Fuzz(folder, sound, arguments.seed, arguments.count, address, arguments.kinds)
        started = monotonic()
        watched = run.curate(() if arguments.models else _QUICK)
        outcomes, findings = run.judge(watched)
        if watched.code == 0:
            run.compare(outcomes)
        findings.sockets += [f"the planted address was visited {visits[0]} times"] * bool(visits[0])
        figures = figures_of(outcomes, findings, watched) | {"seconds": round(monotonic() - started, 1)}
        if arguments.keep:
            for path in sorted(findings.culprits):
                target = arguments.keep / path.relative_to(run.footage)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    for what, lines in wrongs(findings):
        for line in lines:
            print(f"fuzz: {what}: {line}")
    headings = (
        "kind",
        "mutants",
        "kept",
        "rejected",
        "otherwise",
        "slowest look, s",
        "shown by us, s",
        "by FFmpeg, s",
        "share",
    )
    report("fuzz", figures, rows(outcomes), (*headings, "right of it: by us, s", "by FFmpeg, s", "share"))


class Fuzz:
    """One round: the files, the job, and what is to be read from both.

    Args:
        scratch: a folder of its own.
        sound: what is broken.
        address: `http://host:port` that nobody may visit.
        kinds: of mutants; all, if none are named.
    """

    def __init__(
        self,
        scratch: Path,
        sound: Sequence[Base],
        seed: int,
        count: int,
        address: str,
        kinds: Collection[str] = (),
    ):
        self.footage, self.dataset, self._trace = scratch / "footage", scratch / "dataset", scratch / "trace"
        self._sound, self._scratch = sound, scratch
        canary = scratch / "outside" / "canary.mp4"  # it plays: who follows a reference to it keeps a clip
        canary.parent.mkdir()
        canary.write_bytes(next(base.data for base in sound if base.name == "plain.mp4"))
        outside = Outside(str(canary), f"{address}/canary.ts")
        self.mutants = list(mutants(sound, outside, seed, count, kinds))
        for mutant in self.mutants:
            path = self.footage / mutant.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(mutant.data)

    def curate(self, settings: Sequence[str] = _QUICK) -> Watched:
        """Run the job on the mutants, watched."""
        command = [
            sys.executable,
            "-m",
            "jobs.cli.main",
            "curate",
            f"footage={self.footage}",
            f"dataset={self.dataset}",
        ]
        timeout_s = _WHOLE_S + _WHOLE_PER_MUTANT_S * len(self.mutants)
        watched = watch([*command, *SETTINGS, *settings], self._trace, timeout_s)
        if watched.code != 0:
            print(watched.lines[-4000:])
        return watched

    def judge(self, watched: Watched) -> tuple[list[Outcome], Findings]:
        """What became of each mutant, and what must not be."""
        outcomes, findings = self.accounts() if watched.code == 0 else (self._unknown(), Findings())
        if watched.code != 0:
            ended = "was not done in time" if watched.code is None else f"ended with exit code {watched.code}"
            findings.unaccounted.append(f"the job {ended}, so nothing is")
        self._read_calls(watched.calls, outcomes, findings)
        return list(outcomes.values()), findings

    def accounts(self) -> tuple[dict[str, Outcome], Findings]:
        """What the dataset says became of each mutant, by path; what it doesn't say, and what it puts down to
        us."""
        outcomes, findings = self._unknown(), Findings()
        self._read_dataset(outcomes, findings)
        for path, outcome in outcomes.items():
            if outcome.status == "unaccounted":
                findings.unaccounted.append(path)
                findings.culprits.add(Path(path))
            if "internal" in outcome.reasons:
                findings.ours.append(f"{path}: {'; '.join(outcome.why)}")
                findings.culprits.add(Path(path))
        return outcomes, findings

    def compare(self, outcomes: Collection[Outcome]) -> None:
        """Let the outcome of each damaged mutant say what is shown of it, by the dataset and by FFmpeg."""
        opened = open_dataset(str(self.dataset))
        sources = {row["uri"]: row for row in opened.sources().table().to_pylist()}
        clips: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in opened.index().table().to_pylist():
            clips[row["source_uri"]].append(row)
        (self._scratch / "undamaged").mkdir()
        comparison = Comparison(self._sound, self._scratch / "undamaged")
        for outcome in outcomes:
            path = self.footage / outcome.mutant.name
            uri = _as_stored(str(path))
            outcome.shown = comparison.shown(outcome.mutant, path, sources.get(uri), clips[uri])
        comparison.close()

    def _unknown(self) -> dict[str, Outcome]:
        return {str(self.footage / mutant.name): Outcome(mutant) for mutant in self.mutants}

    def _read_dataset(self, outcomes: Mapping[str, Outcome], findings: Findings) -> None:
        opened = open_dataset(str(self.dataset))
        sources, index, quarantine = (
            part.to_pylist()
            for part in (opened.sources().table(), opened.index().table(), opened.quarantine().table())
        )
        by_uri: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in sources:
            by_uri[row["uri"]].append(row)
        clips: dict[str, Counter[str]] = defaultdict(Counter)
        for row in index:
            clips[row["source_uri"]][row["status"]] += 1
        bad: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in quarantine:
            bad[row["source_uri"]].append(row)
        for uri, outcome in outcomes.items():
            found = by_uri.pop(_as_stored(uri), [])
            if len(found) != 1:  # none, or more than one
                continue
            (row,) = found
            uri = row["uri"]
            outcome.duration_s = row["duration_s"] or 0.0
            outcome.reasons = tuple(sorted({row["reason"] for row in bad[uri]}))
            outcome.why = tuple(sorted({row["message"] for row in bad[uri]}))
            if row["status"] != "video":
                outcome.status = (
                    row["status"] if row["status"] != "quarantined" or bad[uri] else "unaccounted"
                )
            elif clips[uri]:
                outcome.status = "kept" if clips[uri]["kept"] else "rejected"
            elif bad[uri]:
                outcome.status = "quarantined"
        findings.unaccounted += [f"{uri} is in the dataset and no mutant" for uri in by_uri]
        findings.unaccounted += _unbalanced(self.dataset, outcomes.values(), index, quarantine)

    def _read_calls(self, calls: Sequence[Call], outcomes: Mapping[str, Outcome], findings: Findings) -> None:
        allowed = (*libraries(), *_SYSTEM, f"{self.dataset}/.scratch/")
        for call in calls:
            about = next((path for path in map(_unescaped, call.opened) if path in outcomes), None)
            where = f"looking at {about}" if about else f"process {call.pid}"
            own = (*allowed, f"/proc/{call.pid}/", *([about] if about else []))
            beyond = [path for path in map(_unescaped, call.opened) if not _is_within(path, own)]
            findings.outside += [f"{where}: opened {path}" for path in sorted(set(beyond))]
            findings.sockets += [f"{where}: {line}" for line in call.sockets]
            findings.started += [f"{where}: {line}" for line in call.started]
            if beyond or call.sockets or call.started:
                findings.culprits |= {Path(about)} if about else set()
            if about is None:
                continue
            outcome = outcomes[about]
            outcome.slowest_s = max(outcome.slowest_s, call.seconds)
            most_s = deadline_s(outcome)
            if call.seconds > most_s + SLACK_S:
                findings.late.append(f"{where}: {call.seconds:.1f} s, not {most_s:.1f} s")
                findings.culprits.add(Path(about))


def deadline_s(outcome: Outcome) -> float:
    """How long one look at a mutant may take, as the job was told."""
    footage_s = max(len(outcome.mutant.data) / _LOW_BYTES_PER_S, outcome.duration_s)
    return DEADLINE_S + DEADLINE_PER_S * footage_s


def _is_within(path: str, allowed: Sequence[str]) -> bool:
    """Whether a path is one of those, or lies in a folder of those (they end in /), or is that folder; or
    this project's own, which is listed for its packages.
    """
    return path == str(ROOT) or any(path.startswith(start) or path == start.rstrip("/") for start in allowed)


def _unescaped(path: str) -> str:
    """A path as strace prints it → as Python has it."""
    if "\\" not in path:
        return path
    return (
        path.encode("latin-1", "backslashreplace")
        .decode("unicode_escape")
        .encode("latin-1")
        .decode(errors="surrogateescape")
    )


def _as_stored(uri: str) -> str:
    """A path that is no text is stored with its odd bytes spelled out."""
    return uri.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _unbalanced(
    dataset: Path, outcomes: Any, index: Sequence[Any], quarantine: Sequence[Any]
) -> Iterator[str]:
    """Where the ledger of the run is not what the tables say."""
    (path,) = dataset.glob("runs/*-curate-*/ledger.json")
    ledger, status = json.loads(path.read_text()), Counter(outcome.status for outcome in outcomes)
    clips = Counter(row["status"] for row in index)
    # the rest are gaps
    bad_sources = sum(row["clip_id"] is None and row.get("start_s") is None for row in quarantine)
    told = {
        "sources": sum(status.values()),
        "ignored": status["ignored"],
        "duplicates": status["duplicate"],
        "sources_quarantined": bad_sources,
        "videos": sum(status.values()) - status["ignored"] - status["duplicate"] - bad_sources,
        "clips_kept": clips["kept"],
        "clips_rejected": clips["rejected"],
        "clips": ledger["clips_kept"] + ledger["clips_rejected"] + ledger["clips_quarantined"],
    }
    yield from (
        f"ledger: {name} {ledger[name]}, and not {count}"
        for name, count in told.items()
        if ledger[name] != count
    )


@contextmanager
def listener() -> Iterator[tuple[str, list[int]]]:
    """An address on this machine at which visits are counted: `http://…`, and a list of one number, right at
    the end."""
    visits, last = [0], []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def count() -> None:
            while True:
                visitor, address = server.accept()
                visitor.close()
                if address in last:
                    return
                visits[0] += 1

        counter = threading.Thread(target=count, daemon=True)
        counter.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", visits
        finally:
            with socket.socket() as own:  # behind all who wait, so that they are counted
                own.bind(("127.0.0.1", 0))
                last.append(own.getsockname())
                own.connect(server.getsockname())
                counter.join()


def figures_of(outcomes: Sequence[Outcome], findings: Findings, watched: Watched) -> dict[str, float]:
    """By the names that others rely on."""
    status = Counter(outcome.status for outcome in outcomes)
    reasons = Counter(f"reason_{reason}" for outcome in outcomes for reason in outcome.reasons)
    damaged = [outcome.shown for outcome in outcomes if outcome.shown]
    shown = sum(damaged, Shown())
    decoder = max([watched.peaks["decoder"], *(call.peak_bytes for call in watched.calls)])
    return {
        "mutants": len(outcomes),
        "kinds": len({outcome.mutant.kind for outcome in outcomes}),
        "unaccounted": len(findings.unaccounted),
        "over_deadline": len(findings.late),
        "opened_outside": len(findings.outside),
        "sockets_connected": len(findings.sockets),
        "programs_started": len(findings.started),
        "looks_watched": len(watched.calls),
        "slowest_look_s": round(max((call.seconds for call in watched.calls), default=0.0), 2),
        "peak_decoder_mib": round(decoder / MIB),
        "peak_worker_mib": round(watched.peaks["worker"] / MIB),
        "damaged": len(damaged),
        "kept_share_of_decodable": round(shown.share, 3),
        "kept_share_of_right": round(shown.share_of_right, 3),
        "shown_but_wrong": round(1 - shown.ours_right_s / shown.ours_s, 3) if shown.ours_s else 0.0,
        "decodable_but_wrong": round(1 - shown.ffmpeg_right_s / shown.ffmpeg_s, 3) if shown.ffmpeg_s else 0.0,
        "decodable_flagged_s": round(shown.flagged_s, 2),
        **{name: status[name] for name in ("kept", "rejected", "quarantined", "duplicate", "ignored")},
        "reason_internal": 0,
        **dict(sorted(reasons.items())),
    }


def wrongs(findings: Findings) -> Iterator[tuple[str, list[str]]]:
    """What went wrong, by what it is."""
    yield "unaccounted", findings.unaccounted
    yield "over its deadline", findings.late
    yield "opened outside", findings.outside
    yield "socket", findings.sockets
    yield "program started", findings.started
    yield "a fault of ours", findings.ours


def rows(outcomes: Sequence[Outcome]) -> list[tuple[object, ...]]:
    """The table by kind of mutant."""
    made = []
    for name in KINDS:
        mine = [outcome for outcome in outcomes if outcome.mutant.kind == name]
        status = Counter(outcome.status for outcome in mine)
        other = Counter(
            "/".join(outcome.reasons) or outcome.status
            for outcome in mine
            if outcome.status not in ("kept", "rejected")
        )
        text = ", ".join(f"{reason} {count}" for reason, count in other.most_common())
        slowest = max((outcome.slowest_s for outcome in mine), default=0.0)
        row = (name, len(mine), status["kept"], status["rejected"], text, f"{slowest:.1f}")
        made.append((*row, *_shown_of([outcome.shown for outcome in mine if outcome.shown])))
    return [row for row in made if row[1]]


def _shown_of(damaged: Sequence[Shown]) -> tuple[str, ...]:
    """The columns of what is shown; empty where nothing was damaged."""
    if not damaged:
        return ("",) * 6
    shown = sum(damaged, Shown())
    seconds = (f"{shown.ours_s:.1f}", f"{shown.ffmpeg_s:.1f}", f"{shown.share:.2f}")
    return (
        *seconds,
        f"{shown.ours_right_s:.1f}",
        f"{shown.ffmpeg_right_s:.1f}",
        f"{shown.share_of_right:.2f}",
    )


if __name__ == "__main__":
    main()
