"""Frames → the names of their dominant colours.

In: RGB frames. Out: colour names with the share of the picture they cover, largest first. Pixels are named one by one
from hue, saturation and value, so the names don't depend on a clustering's random start.
"""

import cv2
import numpy as np

_SIDE = 64
# Upper ends of the hue ranges on OpenCV's scale (0–179), and their names.
_HUES = (
    (8, "red"),
    (20, "orange"),
    (34, "yellow"),
    (82, "green"),
    (98, "teal"),
    (130, "blue"),
    (150, "purple"),
    (169, "pink"),
    (180, "red"),
)
_GREYS = ((45, "black"), (95, "dark grey"), (170, "grey"), (215, "light grey"), (256, "white"))


def dominant_colours(frames: np.ndarray, least_share: float = 0.08) -> list[tuple[str, float]]:
    """Colours that cover at least `least_share` of the frames, with their shares, largest first.

    Args:
        frames: RGB uint8 (T, H, W, 3).
    """
    small = np.concatenate([cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for frame in frames])
    hue, saturation, value = (channel.astype(int) for channel in cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2HSV)))
    names = np.full(hue.shape, "", dtype="<U12")
    for end, name in reversed(_GREYS):
        names[value < end] = name
    coloured = (saturation >= 60) & (value >= 45)
    pale = coloured & (saturation < 110)
    hues = np.full(hue.shape, "", dtype="<U12")
    for end, name in reversed(_HUES):
        hues[hue < end] = name
    warm = np.isin(hues, ("orange", "yellow", "red")) & (hue < 30)
    names[coloured] = hues[coloured]
    names[coloured & warm & (value < 150)] = "brown"
    names[pale & warm & (value >= 150)] = "beige"
    dark = coloured & (value < 100) & np.isin(names, ("green", "blue"))
    names[dark] = np.char.add("dark ", names[dark])
    found, counts = np.unique(names, return_counts=True)
    shares = sorted(
        zip((counts / names.size).tolist(), found.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1])
    )
    return [(name, share) for share, name in shares if share >= least_share]
