"""Whether scores are right, on footage whose truth is known by construction, and what each costs.

`python -m benchmarks.scores [small] [seed=0]`

- `letterbox, text_area_error, monotone_min`: `benchmarks.measure.score_pictures`
- `motion_error, camera`: `benchmarks.measure.score_motion`
- `dup_precision, dup_recall`: `benchmarks.measure.score_duplicates`
- processor seconds per clip: `benchmarks.measure.score_costs`

Everything goes through real files and the measuring that curation does, with its default settings: no score
sees more frames than it does there. Footage, thresholds and methods were chosen on seeds from 1000 on; what
is reported is seed 0.
"""

import sys

from benchmarks.measure import score_costs, score_duplicates, score_motion, score_pictures
from benchmarks.measure.results_file import report

GOALS = {
    "letterbox": "≥ 0.99",
    "text_area_error": "≤ 10",
    "motion_error": "≤ 0.10",
    "camera": "≥ 0.95",
    "monotone_min": "≥ 0.95",
    "dup_precision": "≥ 0.99",
    "dup_recall": "≥ 0.99",
}


def main(arguments: list[str]) -> None:
    small = "small" in arguments
    seed = next((int(text.removeprefix("seed=")) for text in arguments if text.startswith("seed=")), 0)
    costs = score_costs.measure_costs(repeats=1 if small else 3)
    found = {}
    for part in (score_pictures, score_motion, score_duplicates):
        found |= part.measure(seed, small)
    rows = [(name, f"{found[name]:.4g}", goal) for name, goal in GOALS.items()]
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
    rows += [(name, f"{value:.4g}", "") for name, value in sorted(numbers.items()) if name not in GOALS]
    for film, parts in costs.items():
        rows += [
            (f"processor s per {score_costs.CLIP_S:g} s clip: {what}", f"{seconds:.3f}", film)
            for what, seconds in parts.items()
        ]
    named = {name: found[name] for name in GOALS}
    figures = named | {name: value for name, value in numbers.items() if name not in GOALS}
    figures |= {f"cpu_s_{what.replace(' ', '_')}": value for what, value in costs["bigbuckbunny.mp4"].items()}
    report(
        "scores" if not small and seed == 0 else f"scores_seed{seed}{'_small' if small else ''}",
        figures,
        rows,
        ("what", "value", "goal, or film"),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
