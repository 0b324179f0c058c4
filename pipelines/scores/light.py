"""How bright a clip is, and how contrasty."""

from pipelines.scores.base import SIGNALS, Score, of_signal

SCORES = {
    "luma_mean": Score(of_signal("luma_mean"), "mean luma", "0–255", SIGNALS, low="dark", high="bright"),
    "luma_std": Score(of_signal("luma_std"), "mean spread of luma inside a frame", "0–255", SIGNALS, low="flat"),
}
