"""What each stage's work depends on: its version, its settings, its weights and the stages before it.

In: the config of a run. Out: a fingerprint per stage. A key enters where it first changes something, so
changing the captioner makes only captions again, and changing the recipe nothing at all.
"""

from dataclasses import dataclass

from jobs.curation.config import CurateConfig
from pipelines.dataset import pack, shards
from pipelines.dataset.stages import stage_fingerprint
from pipelines.dedup import looks
from pipelines.precision import AUTO
from pipelines.scores import registry
from pipelines.shots import clips, find_shots
from recaption.captioners.registry import captioner_fingerprint

IDENTIFY_VERSION = 1
PROBE_VERSION = 4


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Of every stage of a run."""

    identify: str
    probe: str
    measured: dict[str, str]
    """By what is measured: the signals, and each meter that is configured."""
    clips: str
    dover: str | None
    """None where it is not configured."""
    captions: str
    match: str | None
    """None where no CLIP is configured."""
    cut: str
    shards: str


def header_fingerprint(cfg: CurateConfig) -> str:
    """Of the headers of videos."""
    return stage_fingerprint(PROBE_VERSION, cfg.footage_options)


def fingerprints(cfg: CurateConfig) -> Fingerprints:
    """Raises ValueError if the captioner is not known.

    Args:
        cfg: with a precision that is decided: bf16 or fp32.
    """
    assert cfg.precision != AUTO, (
        "whoever starts a run decides it, or its rows would be filed under a choice of their own"
    )
    from pipelines.cutting import audio_track, cut, encode
    from pipelines.measure import measure, signals
    from pipelines.scores import clip, dover, match

    measured = {
        signals.STAGE: stage_fingerprint(
            signals.VERSION, signals.signals_settings(cfg.signals, cfg.shots, cfg.precision)
        )
    }
    measured |= {
        name: stage_fingerprint(
            measure.VERSION, [cfg.signals.native_every_s, meter.settings(cfg.scores, cfg.precision)]
        )
        for name, meter in registry.configured_meters(cfg.scores).items()
    }
    heard = [audio_track.VERSION] if cfg.cut.audio == "keep" else []
    clip_files = stage_fingerprint(cut.VERSION, [cfg.cut, encode.VERSION, cfg.encode, *heard])
    return Fingerprints(
        identify=stage_fingerprint(IDENTIFY_VERSION, None),
        probe=header_fingerprint(cfg),
        measured=measured,
        clips=stage_fingerprint(
            clips.VERSION,
            [find_shots.VERSION, cfg.shots, cfg.clips.max_s, registry.VERSION, cfg.scores, looks.VERSION],
            *(measured[name] for name in sorted(measured)),
        ),
        dover=None
        if dover.missing(cfg.scores)
        else stage_fingerprint(dover.VERSION, dover.settings(cfg.scores)),
        captions=captioner_fingerprint(cfg.captioner),
        match=None
        if match.missing(cfg.scores)
        else stage_fingerprint(match.VERSION, match.settings(cfg.scores), measured[clip.METER.name]),
        cut=clip_files,
        shards=stage_fingerprint(shards.VERSION, pack.VERSION, clip_files),
    )
