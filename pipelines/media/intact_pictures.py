"""A file and its clock → its intact pictures with their frame numbers. Damaged pictures, and pictures that
depend on them, are skipped.

In: packets. Out: pictures in order of display. Decoding runs from a keyframe of the clock until a packet or a
picture turns out to be damaged, and begins anew at the next keyframe. A picture comes out only when
everything that was decoded before it has come out undamaged, so what is left out is the same wherever
decoding began: of the frames from one keyframe to the next, those from the first one on that is damaged or
was decoded after damage. No keyframe is decoded more than twice, however much is damaged.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import MediaError, Reason
from pipelines.media.packets import (
    FLAGGED_AHEAD,
    FramingTracker,
    is_marked_corrupt,
    packet_time,
    packets_from,
    pictures,
    shows_picture,
)
from pipelines.media.picture_format import set_framing
from pipelines.media.ranged import File

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.codeccontext import VideoCodecContext

    from pipelines.media.clock import Clock

_MOST_HELD = 32  # pictures that wait for one decoded before them: twice what any standard reorders


def intact_pictures(
    source: File | bytes, clock: "Clock", start_pts: int, end_pts: int
) -> Iterator[tuple[int, "VideoFrame"]]:
    """FFmpeg's own pictures in [start_pts, end_pts), as coded, with their numbers in the clock: all that are
    whole.

    Raises:
        MediaError: see `open_container`; no_timestamps.
    """
    first, after = clock.index_of(start_pts), clock.index_of(end_pts)
    if clock.by_packet:
        yield from _from_keyframe(source, clock, first, after)
        return
    # Pictures and packets don't match one to one here, and the clock was read by decoding: it knows what is
    # lost.
    for begin, end in pairwise(
        [first, *(number for number in clock.frames_after_gaps if first < number < after), after]
    ):
        yield from _in_order(source, clock, begin, end)


def pictures_between(
    source: File | bytes, clock: "Clock", start_pts: int, end_pts: int
) -> Iterator["VideoFrame"]:
    """FFmpeg's own pictures in [start_pts, end_pts), as coded: exactly those of the clock, in order.

    Raises:
        MediaError: undecodable, if one is lost; see `intact_pictures`.
    """
    number, after = clock.index_of(start_pts), clock.index_of(end_pts)
    for came, picture in intact_pictures(source, clock, start_pts, end_pts):
        if came != number:
            break
        yield picture
        number += 1
    if number < after:
        raise MediaError(
            Reason.UNDECODABLE, f"the picture at pts {clock.pts[number]} is damaged, or one that it needs"
        )


def _from_keyframe(
    source: File | bytes, clock: "Clock", first: int, after: int
) -> Iterator[tuple[int, "VideoFrame"]]:
    if first >= after:
        return
    keyframe = clock.keyframe_before(int(clock.pts[first]))
    begin = 0 if keyframe is None else clock.index_of(keyframe)
    done = first
    for seek in (False,) if keyframe is None else (True, False):  # from the start only if seeking led astray
        came = False
        for number, picture in _Decoding(clock, begin, after).run(
            packets_from(source, clock, keyframe, seek)
        ):
            came = came or number == begin
            if number >= done:
                done = number + 1
                yield number, picture
        if came:
            return


class _Decoding:
    """Decodes packets from a keyframe on, and beyond damage from the next keyframe.

    Packets are numbered in the order of decoding, from the last keyframe at which it began.
    """

    def __init__(self, clock: "Clock", begin: int, after: int):
        self._clock, self._after = clock, after
        # from a keyframe on that has not come out yet
        self._again: deque[tuple[Packet, int | None]] = deque()
        self._begin_at(begin)

    def _begin_at(self, number: int) -> None:
        clock = self._clock
        self._begin_pts = int(clock.pts[number])
        # the frame to hand out next; the one that the decoder is to show next
        self._next = self._expected = number
        self._fed = 0
        self._aspects = FramingTracker(clock.framing)
        self._bad: float = math.inf  # the first packet that is damaged
        self._suspect: float = math.inf  # a packet in which or behind which data may be missing
        self._fed_as: dict[int, int] = {}  # the packet that shows a frame
        self._pending: dict[int, None] = {}  # packets whose picture has not come out, in order
        self._held: deque[tuple[int, int, VideoFrame]] = deque()

    def run(self, packets: Iterator["Packet"]) -> Iterator[tuple[int, "VideoFrame"]]:
        """(number, picture) of what is whole, to the end of what is wanted."""
        replayed: deque[Packet] = deque()
        skips_to: int | None = None
        codec = None
        while self._next < self._after:
            packet = replayed.popleft() if replayed else next(packets, None)
            ends = packet is None or not packet.size
            if packet is not None and packet.size:
                key = self._keyframe(packet)
                if key is not None:
                    self._suspect = math.inf
                elif self._fed - self._suspect >= FLAGGED_AHEAD:
                    self._spoil(self._suspect)
                if skips_to is not None and key != skips_to:
                    continue
                skips_to = None
                codec = codec or self._opened(packet)
                if self._again or key is not None:
                    self._again.append((packet, key))
                self._feed(packet)
            if codec is None or skips_to is not None:
                return
            if len(self._held) > _MOST_HELD:
                self._spoil(next(iter(self._pending)))
            if ends or self._bad < math.inf:
                self._drain(codec)
            yield from self._verified()
            if self._next >= self._after:
                return
            if self._bad < math.inf:
                skips_to = self._next_keyframe()
                if skips_to is None:
                    return
                replayed.extendleft(reversed(self._remembered(skips_to)))
                codec.flush_buffers()
                self._begin_at(skips_to)
            elif ends:
                return

    def _opened(self, packet: "Packet") -> "VideoCodecContext":
        from av.codec.context import Flags

        codec = packet.stream.codec_context
        codec.flags |= Flags.copy_opaque
        return codec

    def _keyframe(self, packet: "Packet") -> int | None:
        """The number of the frame, if decoding may begin at a packet."""
        time = packet_time(packet, self._clock.demuxer) if packet.is_keyframe else None
        if time is None:
            return None
        at = int(np.searchsorted(self._clock.keyframes, time))
        listed = at < len(self._clock.keyframes) and self._clock.keyframes[at] == time
        return self._clock.index_of(time) if listed else None

    def _feed(self, packet: "Packet") -> None:
        import av

        clock, fed = self._clock, self._fed
        self._fed += 1
        time = packet_time(packet, clock.demuxer)
        leads = time is not None and time < self._begin_pts  # and so nothing that is wanted refers to it
        if time is not None and not leads and shows_picture(packet):
            number = clock.index_of(time)
            if number < len(clock.pts) and clock.pts[number] == time and number not in self._fed_as:
                self._fed_as[number] = fed
                self._pending[fed] = None
        packet.opaque = [fed]  # PyAV wants an object of its own for each
        if time in clock.holes and not leads and not packet.is_keyframe:
            self._spoil(fed)
        if is_marked_corrupt(packet) and not leads:
            self._suspect = min(self._suspect, fed)
        try:
            shown = packet.decode()
        except av.error.FFmpegError:
            if not leads:
                self._spoil(fed)
            return
        self._aspects.update(packet, fed)
        self._take(shown)

    def _take(self, shown: Iterable["VideoFrame"]) -> None:
        """Note what came out."""
        clock = self._clock
        for picture in shown:
            number = self._expected
            if number == len(clock.pts):
                continue  # it is behind the end of the clock
            if clock.timing == "count":
                came_with: Any = picture.opaque
                (fed,) = came_with or [self._fed - 1]
            else:
                pts = picture.dts if picture.pts is None else picture.pts
                if pts is not None and (pts < self._begin_pts or (number and pts == clock.pts[number - 1])):
                    continue  # it leads the keyframe, or has no time of its own
                if pts != clock.pts[number]:
                    self._spoil(
                        self._fed_as.get(number, self._fed - 1)
                    )  # it did not come, or is another than is listed
                    continue
                fed = self._fed_as.get(number, self._fed - 1)
            self._pending.pop(fed, None)
            if picture.is_corrupt:  # what a decoder made up depends on what it saw before, and is no footage
                self._spoil(fed)
                continue
            picture.pts = int(clock.pts[number])
            set_framing(picture, self._aspects.framing_of(picture))
            self._held.append((number, fed, picture))
            self._expected = number + 1

    def _spoil(self, fed: float) -> None:
        self._bad = min(self._bad, fed)

    def _drain(self, codec: "VideoCodecContext") -> None:
        """Let the decoder show what it has: whatever does not come out now never will."""
        import av

        with suppress(av.error.FFmpegError):
            self._take(codec.decode(None))
        if self._pending:
            self._spoil(next(iter(self._pending)))
        self._spoil(self._suspect)

    def _verified(self) -> Iterator[tuple[int, "VideoFrame"]]:
        good_before = min(self._bad, self._suspect, next(iter(self._pending), math.inf))
        while self._held and self._held[0][1] < good_before and self._next < self._after:
            number, _, picture = self._held.popleft()
            self._next = number + 1
            yield number, picture
        while self._again and self._again[0][1] is not None and self._again[0][1] < self._next:
            self._again.popleft()
            while self._again and self._again[0][1] is None:
                self._again.popleft()

    def _next_keyframe(self) -> int | None:
        """The number of the first keyframe behind the first frame that is lost, if it is wanted; or of that
        frame, if it is one and decoding did not begin at it: what failed there may be what came before.
        """
        keyframes, first_lost = self._clock.keyframes, int(self._clock.pts[self._next])
        at = int(
            np.searchsorted(keyframes, first_lost, side="right" if first_lost == self._begin_pts else "left")
        )
        if at == len(keyframes):
            return None
        number = self._clock.index_of(int(keyframes[at]))
        return number if number < self._after else None

    def _remembered(self, number: int) -> list["Packet"]:
        """Packets that were decoded already, from a keyframe on; nothing if it has not come yet."""
        again = list(self._again)
        self._again.clear()
        begin = next((at for at, (_, key) in enumerate(again) if key == number), len(again))
        return [packet for packet, _ in again[begin:]]


def _in_order(
    source: File | bytes, clock: "Clock", first: int, after: int
) -> Iterator[tuple[int, "VideoFrame"]]:
    """Pictures that come out one by one at the times of the clock; where they don't, on from the next
    keyframe."""
    while first < after:
        keyframe = clock.keyframe_before(int(clock.pts[first]))
        begin = 0 if keyframe is None else clock.index_of(keyframe)
        number = begin
        # from the start only if seeking led astray
        for seek in (False,) if keyframe is None else (True, False):
            number = begin
            for picture in pictures(
                packets_from(source, clock, keyframe, seek), clock.timing, clock.framing, broken=[]
            ):
                came = picture.pts
                if came is None:
                    break
                if (keyframe is not None and came < keyframe) or (number and came == clock.pts[number - 1]):
                    continue  # it leads the keyframe, or has no time of its own
                if came != clock.pts[number] or picture.is_corrupt:
                    break
                number += 1
                if number > first:
                    yield number - 1, picture
                    first = number
                if number == after:  # what comes behind may be broken
                    return
            if number > begin:
                break
        at = int(np.searchsorted(clock.keyframes, clock.pts[max(first, number)], side="right"))
        first = clock.index_of(int(clock.keyframes[at])) if at < len(clock.keyframes) else after
