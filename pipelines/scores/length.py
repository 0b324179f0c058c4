"""How long a clip is, and how large: what its container says."""

from pipelines.scores.base import CONTAINER, Score

SCORES = {
    "duration_s": Score(
        lambda clip: clip.duration_s, "length of the clip", "s", CONTAINER, low="too_short", high="too_long"
    ),
    "short_side": Score(
        lambda clip: float(min(clip.width, clip.height)),
        "shorter side as displayed",
        "px",
        CONTAINER,
        low="too_small",
    ),
}
