"""Attacks on our own commands, by hostile models, datasets, footage, names and places: nothing may run, leak,
get out, hang or crash.

Goal: 0 of each. `python -m benchmarks.attack [quick=true] [line=3] [only=name,…] [seed=0] [variations=1]
[base=folder] [keep=folder]`

Each attack (`benchmarks/attacks`) has a place of its own with planted secrets and a victim's folder, makes
hostile files there, and runs the commands that a user would; a generator with a seed draws paths, links,
kinds of files, depths and sizes. All are judged alike (see `benchmarks/attacks/place.py`), from outside: by
what was said, written, opened, asked for and left running.

    cases       tried; `skipped` could not be tried here, and why is printed
    ran_code    cases in which code of an attacker ran
    leaked      … in which a planted secret was told, written or sent
    escaped     … in which something outside was opened or changed, or an address was asked
    hung        … that took too long
    tracebacks  … that ended with a traceback, a signal or a meaningless exit code unmet       … that did not
    do what they should in another way, such as a raw control character on the console

`variations` repeats the round with further seeds. `base` keeps the material (footage, a dataset, a trained
model), which takes some minutes to make. `keep` is where places in which something was found stay. Linux
only; as root it also tries other users and full disks.
"""

import shutil
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic

from benchmarks.attacks import ATTACKS, LINES, Attack
from benchmarks.attacks.judging import KINDS, Harm, tally
from benchmarks.attacks.listening import listener
from benchmarks.attacks.material import Material, make_material
from benchmarks.attacks.place import Place
from benchmarks.measure.options import given
from benchmarks.measure.results_file import report

_AT_ONCE = 2


@dataclass(slots=True)
class Result:
    """What came of one attack. `broken`: the attack itself failed, so nothing is known of what it tries."""

    attack: Attack
    cases: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    harms: list[Harm] = field(default_factory=list)
    commands: int = 0
    seconds: float = 0.0
    broken: str = ""


def main() -> None:
    options = given(
        {"quick": "false", "line": "", "only": "", "seed": "0", "variations": "1", "base": "", "keep": ""}
    )
    chosen = _chosen(options)
    started = monotonic()
    with tempfile.TemporaryDirectory(prefix="atk-", ignore_cleanup_errors=True) as scratch:
        material = make_material(Path(options["base"] or f"{scratch}/base").absolute())
        keep = Path(options["keep"]).absolute() if options["keep"] else None
        seeds = [f"{options['seed']}/{number}" for number in range(int(options["variations"]))]
        results = run_all(chosen, material, Path(scratch), seeds, keep)
    for result in results:
        for harm in result.harms:
            print(f"attack: {harm.kind}: {harm.case}: {harm.how!a}"[:600])
        for skipped in result.skipped:
            print(f"attack: skipped: {skipped}")
        if result.broken:
            print(f"attack: broken: {result.attack.name}: {result.broken}")
    figures = figures_of(results) | {"seconds": round(monotonic() - started, 1)}
    whole = not options["line"] and not options["only"]
    name = "attack" if whole and options["quick"] != "true" else "attack_some"
    report(name, figures, rows(results), ("line", "what holds", "cases", *KINDS, "seconds"))
    if any(result.broken for result in results):
        raise SystemExit("an attack could not be made: its figures say nothing")


def _chosen(options: dict[str, str]) -> list[Attack]:
    names = [name for name in options["only"].split(",") if name]
    for name in names:
        if name not in ATTACKS:
            raise SystemExit(f"only={name}: known are {', '.join(ATTACKS)}")
    lines = [int(line) for line in options["line"].split(",") if line]
    return [
        one
        for one in ATTACKS.values()
        if (not names or one.name in names)
        and (not lines or one.line in lines)
        and (options["quick"] != "true" or one.quick)
    ]


def run_all(
    chosen: Iterable[Attack],
    material: Material,
    scratch: Path,
    seeds: Sequence[str],
    keep: Path | None = None,
) -> list[Result]:
    """Make attacks, two at a time; those that measure what other work would change, alone."""
    chosen = list(chosen)
    numbered = [
        (number, one, seed) for number, (seed, one) in enumerate((s, a) for s in seeds for a in chosen)
    ]
    together = [job for job in numbered if not job[1].alone]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        results = list(pool.map(lambda job: _make(*job, material, scratch, keep), together))
    return results + [_make(*job, material, scratch, keep) for job in numbered if job[1].alone]


def _make(
    number: int, one: Attack, seed: str, material: Material, scratch: Path, keep: Path | None
) -> Result:
    result, started = Result(one), monotonic()
    folder = scratch / f"p{number}"
    with ExitStack() as stack:
        address, asked = stack.enter_context(listener())
        place = Place(folder, one.name, material, address, asked)
        try:
            one.make(place, Random(f"{seed}/{one.name}"))
        except Exception:  # of the attack, not of what is attacked: it says so, and the others go on
            result.broken = traceback.format_exc()
        finally:
            place.close()
    result.cases, result.skipped, result.harms = place.cases, place.skipped, place.harms
    result.commands, result.seconds = place.commands, monotonic() - started
    if keep is not None and (result.harms or result.broken):
        shutil.rmtree(keep / one.name, ignore_errors=True)
        keep.mkdir(parents=True, exist_ok=True)
        folder.rename(keep / one.name) if folder.exists() else None
    shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{one.line:2} {one.name}: {len(result.cases)} cases, {len(result.harms)} harms, "
        f"{result.seconds:.0f} s" + (" BROKEN" if result.broken else ""),
        flush=True,
    )
    return result


def figures_of(results: Sequence[Result]) -> dict[str, float]:
    """By the names that others rely on."""
    return {
        "cases": sum(len(result.cases) for result in results),
        **tally(harm for result in results for harm in result.harms),
        "skipped": sum(len(result.skipped) for result in results),
        "broken": sum(bool(result.broken) for result in results),
        "attacks": len(results),
        "commands": sum(result.commands for result in results),
    }


def rows(results: Sequence[Result]) -> list[tuple[object, ...]]:
    """The table by line."""
    made = []
    for line, what in LINES.items():
        mine = [result for result in results if result.attack.line == line]
        harms = tally(harm for result in mine for harm in result.harms)
        seconds = sum(result.seconds for result in mine)
        if mine:
            made.append(
                (line, what, sum(len(result.cases) for result in mine), *harms.values(), f"{seconds:.0f}")
            )
    return made


if __name__ == "__main__":
    main()
