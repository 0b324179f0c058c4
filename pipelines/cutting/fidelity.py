"""PSNR of an encoder's output against its input, measured during encoding.

In: pictures as they go into the encoder, and packets as they come out. Out: the PSNR of the worst frame, over
the samples of all coded planes. Holds only the pictures that the encoder still looks at, so memory does not
grow.
"""

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media.planes import planes_of

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame


class Fidelity:
    """Decodes what one H.264 encoder without B-frames writes, beside it.

    Args:
        min_db: the lowest acceptable PSNR of a frame.
    """

    def __init__(self, min_db: float):
        self.worst_db = math.inf
        self._min_db = min_db
        self._waiting: deque[list[np.ndarray]] = deque()
        self._decoder: VideoCodecContext | None = None

    @property
    def is_within_limit(self) -> bool:
        return self.worst_db >= self._min_db

    def expect(self, picture: "VideoFrame") -> None:
        """A picture that goes into the encoder."""
        self._waiting.append([plane.copy() for plane in planes_of(picture)])

    def compare(self, packet: "Packet", extradata: bytes) -> None:
        """A packet that came out of it, with the parameter sets of its stream."""
        self._take(self._open(extradata).decode(packet))

    def finish(self) -> None:
        """Compare what the decoder still holds."""
        if self._decoder is not None:
            self._take(self._decoder.decode(None))
        assert not self._waiting, f"{len(self._waiting)} pictures never came out of the encoder"

    def _open(self, extradata: bytes) -> "VideoCodecContext":
        import av

        if self._decoder is None:
            self._decoder = av.CodecContext.create("h264", "r")
            self._decoder.extradata = extradata
            self._decoder.thread_count = 1
        return self._decoder

    def _take(self, pictures: list["VideoFrame"]) -> None:
        import cv2

        for picture in pictures:
            wanted = self._waiting.popleft()
            shown, peak = planes_of(picture), (1 << picture.format.components[0].bits) - 1
            squares = sum(cv2.norm(a, b, cv2.NORM_L2SQR) for a, b in zip(shown, wanted, strict=True))
            error = squares / sum(plane.size for plane in wanted)
            self.worst_db = min(self.worst_db, 10 * math.log10(peak**2 / error) if error else math.inf)
