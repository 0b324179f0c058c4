"""How much moves: optical flow between consecutive frames."""

from pipelines.scores.base import SIGNALS, Score, of_signal, percentile

_UNIT = "share of the frame diagonal per s"

SCORES = {
    "motion_mean": Score(of_signal("motion"), "mean optical flow", _UNIT, SIGNALS, low="static", high="frantic"),
    "motion_p95": Score(
        of_signal("motion", percentile(95)),
        "95th percentile over frames of the mean optical flow",
        _UNIT,
        SIGNALS,
        low="static",
        high="frantic",
    ),
    "object_motion": Score(
        of_signal("object_motion"),
        "mean optical flow that the camera does not explain",
        _UNIT,
        SIGNALS,
        low="static",
        high="frantic",
    ),
}
