"""What can be wrong with footage: a closed set of reasons, and the one exception that carries them.

Every door to a decoder, demuxer or encoder raises `MediaError`, never the library's own exception; the graph
turns it into a quarantine row. Errors of the host (full disk, too many open files) are no fault of a file and
end the job.
"""

import errno
from enum import StrEnum
from typing import TypeGuard

# No room, or none for this user; nobody may write; no descriptors left.
_OF_THE_PLACE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE))


class Reason(StrEnum):
    """Why a source or a clip was quarantined."""

    MISSING = "missing"  # the file is not there, or may not be read
    UNREADABLE = "unreadable"  # no container that we take
    TRUNCATED = "truncated"  # the file ends before its content does
    NO_VIDEO = "no_video"  # a container without a video stream
    NO_FRAMES = "no_frames"  # a video stream that yields no frame
    NO_TIMESTAMPS = "no_timestamps"  # frames that can't be placed in time
    UNDECODABLE = "undecodable"  # the decoder gave up
    TOO_LARGE = "too_large"  # above a limit of size, dimensions or duration
    UNWRITABLE = "unwritable"  # a clip that could not be encoded
    UNFAITHFUL = "unfaithful"  # a written clip that is not what was asked for
    TIMED_OUT = "timed_out"  # its process was ended at the deadline
    OUT_OF_MEMORY = "out_of_memory"  # its process asked for more than it may have
    CRASHED = "crashed"  # its process died of a signal
    INTERNAL = "internal"  # a fault of ours: tried again by the next run

    @property
    def permanent(self) -> bool:
        """Whether the failure is permanent: a retry with the same bytes and code would fail again."""
        return self not in (Reason.MISSING, Reason.INTERNAL)


class PlaceError(OSError):
    """The host can't be written to, for example because its disk is full; says nothing about any source."""


def is_host_error(error: BaseException) -> TypeGuard[OSError]:
    """Whether an error of Python or FFmpeg is caused by the host (its errno says so), not by the file."""
    return isinstance(error, OSError) and error.errno in _OF_THE_PLACE


class MediaError(Exception):
    """One file, or one clip of it, that can't be processed.

    Args:
        reason: which of the closed set.
        message: what exactly, in words, without the URI (the row has it).
    """

    def __init__(self, reason: Reason, message: str):
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @property
    def permanent(self) -> bool:
        """See `Reason.permanent`."""
        return self.reason.permanent
