"""Geometry and length of a clip → the bucket it is stored in, like `16x9_720_5s`.

In: width, height as displayed, seconds. Out: aspect class × resolution class × length class. A bucket groups
what is alike in storage; a batch's exact shape is the trainer's affair.
"""

import math

_ASPECTS = {
    "21x9": 64 / 27,
    "16x9": 16 / 9,
    "4x3": 4 / 3,
    "1x1": 1.0,
    "3x4": 3 / 4,
    "9x16": 9 / 16,
    "9x21": 27 / 64,
}
_RESOLUTIONS = (0, 144, 240, 360, 480, 720, 1080, 1440, 2160)  # shorter side, px
_LENGTHS_S = (0, 1, 2, 5, 10, 20, 60)


def bucket(width: int, height: int, duration_s: float) -> str:
    """The nearest aspect, and the largest resolution and length that the clip reaches."""
    ratio = math.log(width / height)
    aspect = min(_ASPECTS, key=lambda name: abs(math.log(_ASPECTS[name]) - ratio))
    resolution = max(side for side in _RESOLUTIONS if side <= min(width, height))
    length = max(seconds for seconds in _LENGTHS_S if seconds <= round(duration_s, 3))
    return f"{aspect}_{resolution}_{length}s"
