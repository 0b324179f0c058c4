"""The row of a clip, and what other rows say of it → its passport, for people and for programs.

In: a dataset. Out: plain values in groups, and the same as text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from jobs.listing.single_line import single_line
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import INDEX
from pipelines.recipes.config import RecipeConfig
from pipelines.recipes.recipe import load_recipe, manifest_rules
from pipelines.scores.registry import SCORES

_GROUPS = {
    "identity": (
        "clip_id",
        "video_id",
        "source_uri",
        "source_text",
        "source_license",
        "source_dataset",
        "frames_hash",
    ),
    "span": (
        *("shot_index", "start_s", "end_s", "num_frames", "start_pts", "end_pts", "time_base"),
        *("start_kind", "start_confidence", "end_kind", "end_confidence"),
    ),
    "media": (
        *(
            "width",
            "height",
            "coded_width",
            "coded_height",
            "pixel_aspect",
            "rotation_deg",
            "mirrored",
            "interlaced",
        ),
        *(
            "pixel_format",
            "bit_depth",
            "transfer",
            "fps",
            "codec",
            "safe_x",
            "safe_y",
            "safe_width",
            "safe_height",
        ),
    ),
}
_NEAR = 5


def passport(dataset: Dataset, clip: str) -> dict[str, Any]:
    """Everything about one clip.

    Args:
        clip: its id, or the beginning of it.

    Raises:
        ValueError: no clip, or more than one, has an id that begins so; or it is quarantined, and why.
    """
    row = _find(dataset, clip)
    rules = _rules(dataset, row)
    told: dict[str, Any] = {group: {name: row[name] for name in names} for group, names in _GROUPS.items()}
    told["scores"] = _scores(row)
    told["decision"] = {
        "status": row["status"],
        "reject_reasons": row["reject_reasons"],
        "recipe": {"name": dataset.manifest.recipe["name"], "hash": dataset.manifest.recipe["hash"]},
        "rules": rules,
    }
    told["copies"] = _copies(dataset, row)
    told["text"] = {name: row[name] for name in INDEX.names if name.startswith(("caption_", "tag_"))}
    told["storage"] = {
        name: row[name]
        for name in (
            "bucket",
            "shard",
            "offset",
            "size",
            "cut_method",
            "cut_why",
            "lead_frames",
            "cut_sound",
            "encode_fingerprint",
        )
    }
    told["manifest"] = dataset.number
    return told


def _find(dataset: Dataset, clip: str) -> dict[str, Any]:
    found = dataset.index().where(lambda batch: pc.starts_with(batch["clip_id"], clip))
    if len(found) == 1:
        return found.to_pylist()[0]
    if len(found):
        some = ", ".join(found["clip_id"].to_pylist()[:_NEAR])
        raise ValueError(
            f"clip={clip}: {len(found)} clips have an id that begins so ({some} …); give more of it"
        )
    for row in dataset.quarantine().rows():
        if (row["clip_id"] or "").startswith(clip):
            raise ValueError(
                f"clip={clip} is quarantined: {row['stage']}: {row['reason']}: {row['message']} "
                f"({row['source_uri']})"
            )
    raise ValueError(
        f"clip={clip}: no clip of {dataset.store.uri} has an id that begins so; the column clip_id of its "
        "index has them all"
    )


def _scores(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    why = {gap["score"]: gap["why"] for gap in row["score_gaps"]}
    models = {entry["source"]: entry["model"] for entry in row["score_models"] or ()}
    told = {}
    for name, score in SCORES.items():
        told[name] = {
            "value": row[name],
            "unit": score.unit,
            "model": models.get(score.source),
            "doc": score.doc,
        }
        if row[name] is None:
            told[name]["why_null"] = why.get(name)
    return told


def _rules(dataset: Dataset, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every rule of the recipe, and whether this clip is within it; None where it was not asked. Empty if
    they are not known."""
    if manifest_rules(dataset.manifest.recipe) is None:
        return []
    recipe = load_recipe(RecipeConfig(name="current"), dataset.manifest.recipe)
    told = []
    for rule, bounds in zip(recipe.rules, recipe.as_rows(), strict=True):
        value = row[rule.score]
        told.append(
            bounds | {"value": value, "within": None if value is None else rule.min <= value <= rule.max}
        )
    return told


def _copies(dataset: Dataset, row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("clip_id", "source_uri", "duplicate_kind", "duplicate_similarity")
    others = dataset.index([*names, "duplicate_of"]).where(
        lambda batch: pc.equal(batch["duplicate_of"], row["clip_id"])
    )
    return {
        **{name: row[name] for name in ("duplicate_of", "duplicate_kind", "duplicate_similarity")},
        "stands_for": others.select(names).to_pylist(),
    }


def as_text(values: Mapping[str, Any]) -> str:
    """The same for people."""
    lines: list[str] = []
    for group in ("identity", "span", "media"):
        lines += ["", group, *_lines(values[group])]
    lines += ["", "scores", *(_score_line(name, score) for name, score in values["scores"].items())]
    decision = values["decision"]
    because = f" ({', '.join(decision['reject_reasons'])})" if decision["reject_reasons"] else ""
    lines += [
        "",
        "decision",
        f"  {decision['status']}{because} by recipe {decision['recipe']['name']} "
        f"{decision['recipe']['hash']}",
    ]
    lines += [_rule_line(rule) for rule in decision["rules"]]
    lines += ["", "copies", *_copy_lines(values["copies"])]
    for group in ("text", "storage"):
        lines += ["", group, *_lines(values[group])]
    return "\n".join(lines[1:])


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"  {name:<20} {_shown(value)}" for name, value in values.items() if value not in (None, [])]


def _score_line(name: str, score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return f"  {name:<20} null: {score['why_null']}"
    by = f" · {score['model']}" if score["model"] else ""
    return f"  {name:<20} {_shown(score['value'])}  [{score['unit']}]{by}"


def _rule_line(rule: Mapping[str, Any]) -> str:
    low, high = rule.get("min"), rule.get("max")
    bounds = (
        f"{_shown(low)} ≤ " * (low is not None) + rule["score"] + f" ≤ {_shown(high)}" * (high is not None)
    )
    verdict = {True: "within", False: "outside", None: "not measured"}[rule["within"]]
    return f"  {bounds:<44} {verdict}" + ("" if rule["value"] is None else f" at {_shown(rule['value'])}")


def _copy_lines(copies: Mapping[str, Any]) -> list[str]:
    lines = []
    if copies["duplicate_of"]:
        lines.append(
            f"  a copy of {copies['duplicate_of']} ({copies['duplicate_kind']}, "
            f"{copies['duplicate_similarity']:.4f}), which is kept instead"
        )
    for other in copies["stands_for"]:
        lines.append(
            f"  stands for {other['clip_id']} of {other['source_uri']} ({other['duplicate_kind']}, "
            f"{other['duplicate_similarity']:.4f})"
        )
    return lines or ["  none"]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(_shown(item) for item in value)
    if isinstance(value, Mapping):
        return " ".join(_shown(item) for item in value.values() if item is not None)
    return single_line(str(value))
