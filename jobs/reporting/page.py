"""Everything on one page: the parts that there are, and the HTML that shows them.

In: what was found, and how many clips to show. Out: one HTML document that fetches nothing.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.cli.formatting import format_bytes, format_duration, format_number, format_percent
from jobs.cli.progress import progress
from jobs.curation.config import CurateConfig
from jobs.reporting.account import LedgerView, ledger_view
from jobs.reporting.copies import CopiesView, copies_view
from jobs.reporting.curves import TrainingView, dit_view, first_and_last, vae_view
from jobs.reporting.cutoffs import CutOff, cutoffs
from jobs.reporting.document import document
from jobs.reporting.drawing.pictures import Pictures
from jobs.reporting.drawing.thumbs import Thumbs
from jobs.reporting.funnel import FunnelStep, funnel
from jobs.reporting.gallery import GalleryView, gallery_view
from jobs.reporting.index import Clips
from jobs.reporting.inputs import ReportInputs, newest_ledger
from jobs.reporting.rules import recipe_of
from jobs.reporting.scores import ScoresView, scores_view
from jobs.reporting.timeline import FootageView, footage_view
from jobs.reporting.videos import VideosView, read_evaluation, videos_view
from jobs.upkeep.settings import dataset_config
from pipelines.dataset.reader import Dataset, open_dataset
from pipelines.dataset.schema import KEPT
from pipelines.footage.allowed_footage import AllowedFootage

logger = logging.getLogger(__name__)

_STEPS = {
    "curate": "footage to clips",
    "train_vae": "train the VAE",
    "encode": "clips to latents",
    "train": "train the DiT",
    "evaluate": "generate",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key figure: its value, what it is, and one line that explains it."""

    value: str
    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Step:
    """A job of the workflow and the time it took; `format_percent` of all, percent."""

    job: str
    does: str
    seconds: str
    share: float


@dataclass(frozen=True, slots=True)
class View:
    """What the template draws; a part that has not been made is None. `select` is the command that decides
    anew, to which the page adds what was changed.
    """

    title: str
    summary: str
    is_run: bool
    manifest: int
    keys: list[Key]
    steps: list[Step]
    total: str
    select: str
    funnel: list[FunnelStep]
    scores: ScoresView
    cutoffs: dict[str, list[CutOff]]
    copies: CopiesView
    footage: FootageView
    gallery: GalleryView
    books: LedgerView
    trainings: list[TrainingView]
    videos: VideosView | None


def make_view(inputs: ReportInputs, most_clips: int, footage: AllowedFootage) -> View:
    """Read everything, decode what is shown; of footage only what was given.

    Raises:
        FileNotFoundError: a file that the dataset or the evaluation names is gone.
    """
    dataset = open_dataset(inputs.dataset)
    recipe = recipe_of(dataset.manifest.recipe)
    clips, sources = Clips.of(dataset), list(dataset.sources().rows())
    quarantine = list(dataset.quarantine().rows())
    by_id = {c["clip_id"]: c for c in clips.rows if c["status"] == KEPT}
    scores = scores_view(clips, recipe)
    pictures = Pictures(
        dataset, _curated(inputs.dataset), {s["uri"]: s["size_bytes"] for s in sources}, footage
    )
    evaluation = read_evaluation(inputs.videos) if inputs.videos else None
    trainings = [vae_view(inputs.vae, by_id)] if inputs.vae else []
    trainings += [dit_view(inputs.dit)] if inputs.dit else []

    def pictured() -> tuple[dict[str, list[CutOff]], CopiesView, FootageView, GalleryView]:
        thumbs = Thumbs(pictures)
        return (
            cutoffs(clips, recipe, thumbs),
            copies_view(clips, thumbs),
            footage_view(sources, clips.rows, quarantine, pictures, most_clips),
            gallery_view(clips, pictures, most_clips, _no_picture(footage)),
        )

    pictured()  # only says which pictures are needed
    pictures.decode_requested()
    around, copies, timelines, gallery = pictured()
    videos = None
    if inputs.videos and evaluation:
        with progress("report: videos", total=evaluation["clips"], unit="captions") as bar:
            videos = videos_view(dataset, by_id, inputs.videos, evaluation, bar)
    return View(
        title=inputs.title,
        summary=_summary(inputs, videos),
        is_run=bool(inputs.records),
        manifest=dataset.number,
        keys=_keys(inputs, dataset, sources, clips.rows, videos),
        steps=_steps(inputs.records),
        total=format_duration(sum(r["seconds"] for r in inputs.records.values())),
        select=f"rushes select dataset={shlex.quote(inputs.dataset)}",
        funnel=funnel(clips, sources, quarantine),
        scores=scores,
        cutoffs=around,
        copies=copies,
        footage=timelines,
        gallery=gallery,
        books=ledger_view(dataset, sources, quarantine, clips.rows, newest_ledger(inputs.dataset)),
        trainings=[t for t in trainings if t.charts or t.pictures],
        videos=videos,
    )


def _no_picture(footage: AllowedFootage) -> str:
    """Why a rejected clip has no picture."""
    return (
        "the footage is not at hand, or not what was given"
        if footage.roots
        else "rejected clips are shown from their footage: give it with footage="
    )


def _curated(dataset: str) -> CurateConfig:
    """What the dataset was curated with: where its headers are, and what decoding may take. The defaults
    where this version does not know its settings: then headers are read again.
    """
    try:
        return dataset_config(dataset)
    except ValueError as error:
        logger.warning("%s", error)
        return CurateConfig(dataset=dataset, footage="")


def _summary(found: ReportInputs, videos: VideosView | None) -> str:
    if videos:
        return (
            "What went in, what was kept and why, what was learned, and what comes out: the first seed of "
            "each caption."
        )
    return "What went in, what was kept and why" + (", and what was learned from it." if found.vae else ".")


def _keys(
    found: ReportInputs,
    dataset: Dataset,
    sources: Sequence[Mapping[str, Any]],
    clips: Sequence[Mapping[str, Any]],
    videos: VideosView | None,
) -> list[Key]:
    kept = [c for c in clips if c["status"] == KEPT]
    kept_s, footage_s = (
        sum(c["end_s"] - c["start_s"] for c in kept),
        sum(s["duration_s"] or 0.0 for s in sources if s["status"] == "video"),
    )
    stored = sum(shard.bytes for shard in dataset.shards())
    keys = [
        Key(
            format_duration(kept_s),
            "kept",
            f"of {format_duration(footage_s)} of footage"
            + (f", {format_percent(kept_s / footage_s)}" if footage_s else ""),
        ),
        Key(
            f"{len(kept):,}",
            "clips kept",
            f"{len(clips) - len(kept):,} rejected; {format_bytes(stored)} in {len(dataset.shards()):,} "
            "shards",
        ),
    ]
    psnr = first_and_last(found.vae, "val_psnr_db") if found.vae else None
    if psnr:
        keys.append(Key(f"{psnr[1]:.1f} dB", "VAE PSNR", "held-out frames, after compression and back"))
    loss = first_and_last(found.dit, "val_loss") if found.dit else None
    if loss:
        keys.append(
            Key(
                f"{format_number(loss[0])} → {format_number(loss[1])}",
                "held-out loss",
                f"of the DiT, before and after training, {_change(loss)}",
            )
        )
    if videos:
        keys.append(
            Key(
                format_percent(videos.share),
                "retrieval",
                f"videos nearest to their caption's own clip; chance is {format_percent(videos.chance)}",
            )
        )
    return keys


def _change(loss: tuple[float, float]) -> str:
    return f"{100 * (loss[1] - loss[0]) / loss[0]:+.0f}%".replace("-", "−")


def _steps(records: Mapping[str, Mapping[str, Any]]) -> list[Step]:
    total = sum(r["seconds"] for r in records.values()) or 1.0
    return [
        Step(job, _STEPS[job], format_duration(r["seconds"]), round(100 * r["seconds"] / total, 2))
        for job, r in records.items()
    ]


def render(view: View) -> str:
    """The page."""
    return document(
        "page.html", ("page.css", "decide.css"), ("page.js", "decision.js", "decide.js"), view=view
    )
