"""A frame → the names of its colours, with the share of the picture they cover.

In: RGB frames. Out: colour names as a person uses them. Pixels are named one by one from hue, saturation and
value, so the names don't depend on a clustering's random start.
"""

from collections.abc import Iterable, Mapping

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
_NAMES = (*dict.fromkeys(name for _, name in (*_GREYS, *_HUES)), "brown", "beige", "dark green", "dark blue")
_NUMBER = {name: number for number, name in enumerate(_NAMES)}


def _by_level(ranges: tuple[tuple[int, str], ...]) -> np.ndarray:
    """Numbers of names by level, (256,)."""
    numbers = np.zeros(256, np.uint8)
    for end, name in reversed(ranges):
        numbers[:end] = _NUMBER[name]
    return numbers


_GREY_OF, _HUE_OF = _by_level(_GREYS), _by_level(_HUES)


def colour_shares(frame: np.ndarray) -> dict[str, float]:
    """Every colour of a frame, uint8 (H, W, 3), with its share, largest first; all shares together are 1."""
    small = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    hue, saturation, value = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2HSV))
    hues = _HUE_OF[hue]
    coloured = (saturation >= 60) & (value >= 45)
    warm = coloured & (hue < 30)  # red, orange, yellow
    names = np.where(coloured, hues, _GREY_OF[value])
    names[warm & (value < 150)] = _NUMBER["brown"]
    names[warm & (saturation < 110) & (value >= 150)] = _NUMBER["beige"]
    for name in ("green", "blue"):
        names[coloured & (value < 100) & (hues == _NUMBER[name])] = _NUMBER[f"dark {name}"]
    counts = np.bincount(names.ravel(), minlength=len(_NAMES))
    shares = {name: int(counts[number]) / names.size for number, name in enumerate(_NAMES) if counts[number]}
    return _sorted(shares)


def dominant(frames: Iterable[Mapping[str, float]], least_share: float = 0.08) -> list[tuple[str, float]]:
    """Colours that cover at least `least_share` of frames taken together, with their shares, largest first.

    Args:
        frames: of each, its `colour_shares`.
    """
    frames = list(frames)
    total: dict[str, float] = {}
    for shares in frames:
        for name, share in shares.items():
            total[name] = total.get(name, 0.0) + share
    means = _sorted({name: share / len(frames) for name, share in total.items()})
    return [(name, share) for name, share in means.items() if share >= least_share]


def _sorted(shares: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda pair: (-pair[1], pair[0])))
