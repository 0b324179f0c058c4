"""Times of PyAV's objects, which are None there as long as nobody has read or given them.

In: a stream, packet or picture of which it is settled that it has a time. Out: the time.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.frame import Frame
    from av.packet import Packet
    from av.stream import Stream


def time_base_of(stream: Stream | Frame) -> Fraction:
    """Seconds of a tick. `pipelines.media.probe` refuses streams that have none."""
    assert stream.time_base is not None, "the stream has no time base"
    return stream.time_base


def pts_of(shown: Packet | Frame) -> int:
    """When it is shown, in ticks."""
    assert shown.pts is not None, "it has no presentation time"
    return shown.pts


def dts_of(packet: Packet) -> int:
    """When it is decoded, in ticks."""
    assert packet.dts is not None, "the packet has no decoding time"
    return packet.dts


def duration_of(timed: Packet | Stream) -> int:
    """How long it lasts, in ticks."""
    assert timed.duration is not None, "it has no duration"
    return timed.duration
