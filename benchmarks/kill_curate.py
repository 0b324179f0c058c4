"""Curation, killed with SIGKILL again and again: what it makes in the end must be what it makes undisturbed,
every time.

Goal: of at least 60 kills all identical, none hung. `python -m benchmarks.kill_curate [count=60] [seed=0]`

Small rendered footage goes through `rushes curate`, each time into a new dataset. A worker (or its decoding
server), the driver, or all of Ray is killed: at a boundary between stages (see pipelines/fault_injection.py)
or at a random moment. A run whose worker was killed has to go on by itself. Then the same command is run
again, and the newest manifest, the index and the shards that it names are compared with those of an
uninterrupted run. A run that does not end within two minutes is hung. Workers are killed in a Ray that they
share with all other runs; drivers there, and in their own; all of Ray only where a run has its own. Every
tenth run measures all scores.
"""

import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.measure.results_file import report
from pipelines import fault_injection
from tests.support.killing import Ground, Kill, Rehearsal, Result, below, left

_EVERYTHING_EVERY = 10


def plan(
    count: int, seed: int, rehearsals: dict[bool, Rehearsal], everything_every: int = _EVERYTHING_EVERY
) -> list[Kill]:
    """Victims in turn, half at boundaries and half at random moments, as even over the boundaries as can be.

    Args:
        rehearsals: without and with all scores.
    """
    rng = random.Random(seed)
    decks: dict[tuple[str, bool], list[str]] = {}
    kills = []
    for number in range(count):
        victim = fault_injection.VICTIMS[number % 3]
        at_boundary, everything = number // 3 % 2 == 0, number % everything_every == everything_every - 1
        own_ray = victim == "ray" or (victim == "driver" and number // 6 % 2 == 0)
        if not at_boundary:
            kills.append(Kill(victim, share=rng.random(), own_ray=own_ray, everything=everything))
            continue
        rehearsal = rehearsals[everything]
        passed = rehearsal.by_workers if victim == "worker" else rehearsal.by_workers + rehearsal.by_driver
        names = sorted({name for name, _ in passed})
        deck = decks.setdefault((victim, everything), [])
        if not deck:
            deck += rng.sample(names, len(names))
        name = deck.pop()
        kills.append(
            Kill(victim, name, rng.choice([nth for n, nth in passed if n == name]), 0.0, own_ray, everything)
        )
    return kills


@contextmanager
def ground() -> Iterator[Ground]:
    """A ground with a Ray to share, both gone at the end."""
    import ray

    with tempfile.TemporaryDirectory(prefix="rk-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=256 * 1024**2,
            _temp_dir=f"{folder}/ray",
        )
        # Ray's own would leave runs and folders behind
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield Ground(Path(folder), ray.get_runtime_context().gcs_address)
        finally:
            started = below(psutil.Process())
            ray.shutdown()
            left(started)


def main() -> None:
    options = {"count": 60, "seed": 0}
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        if name not in options or not value.isdigit():
            raise SystemExit(f"{argument}: known are count=<kills>, seed=<number>")
        options[name] = int(value)
    count, seed = options["count"], options["seed"]
    random.seed(seed)  # which of the workers is struck
    with ground() as here:
        few, own, all_ = here.rehearse(), here.rehearse(own_ray=True), here.rehearse(everything=True)
        print(
            f"uninterrupted: {few.seconds:.1f} s, {own.seconds:.1f} s with its own Ray, {all_.seconds:.1f} "
            "s with all scores",
            flush=True,
        )
        if few.truth != own.truth:
            raise SystemExit("two uninterrupted runs differ: there is nothing to compare with")
        results = []
        for number, kill in enumerate(plan(count, seed, {False: few, True: all_}), 1):
            longest = all_ if kill.everything else own if kill.own_ray else few
            wanted = all_ if kill.everything else few
            result = here.kill(kill, Rehearsal(wanted.truth, longest.seconds, (), ()))
            results.append(result)
            print(f"{number:3}/{count} {kill}: {_verdict(result)}", flush=True)
            if not (result.identical and result.went_on) or result.hung:
                print(result.said, flush=True)
        left_behind = here.left_behind()
        for name in left_behind:
            print(f"left behind: {name}", flush=True)
    _report(results, left_behind, seed, "kill_curate" if count >= 60 else f"kill_curate_{count}")


def _verdict(result: Result) -> str:
    words = [f"killed {result.whom}" if result.whom else "nobody killed"]
    words.append("identical" if result.identical else "DIFFERS")
    words += ["HUNG"] * result.hung + ["did not go on"] * (not result.went_on)
    return f"{', '.join(words)}, {result.seconds:.0f} s"


def _report(results: Sequence[Result], left_behind: Sequence[str], seed: int, name: str) -> None:
    killed = [result for result in results if result.whom]
    figures = {
        **_tally(killed),
        "hung": sum(r.hung for r in results),
        "not_killed": len(results) - len(killed),
    }
    rows = []
    for victim in fault_injection.VICTIMS:
        for kind in ("boundary", "random"):
            some = [
                r for r in killed if r.kill.victim == victim and bool(r.kill.boundary) == (kind == "boundary")
            ]
            tally = _tally(some)
            figures |= {f"{figure}_{victim}_{kind}": value for figure, value in tally.items()}
            rows.append([victim, kind, *tally.values()])
    rows.append(["all", "", *_tally(killed).values()])
    figures |= {
        "worker_runs_that_went_on": sum(r.went_on for r in killed if r.kill.victim == "worker"),
        "boundaries": len({r.kill.boundary for r in killed if r.kill.boundary}),
        "decoding_servers_killed": sum(r.whom == "decoding server" for r in killed),
        "processes_left_behind": len(left_behind),
        "seconds_per_kill": round(sum(r.seconds for r in results) / max(1, len(results)), 1),
        "seed": seed,
    }
    report(name, figures, rows, ("victim", "moment", "kills", "identical", "hung"))


def _tally(results: Sequence[Result]) -> dict[str, int]:
    return {
        "kills": len(results),
        "identical": sum(r.identical for r in results),
        "hung": sum(r.hung for r in results),
    }


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
