"""What a child does that finds no room: functions for `pipelines.sandbox.child.call`."""

import errno
import os
from pathlib import Path

FULL = Path("/dev/full")


def packets(film: Path) -> None:
    """FFmpeg writes, while another file is open to be read."""
    import av

    from pipelines.media.probe import open_container, video_stream

    with open_container(film) as source, av.open(str(FULL), "w", format="mp4") as container:
        track = container.add_stream_from_template(video_stream(source), opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = track
                container.mux(packet)


def plain(film: Path) -> None:
    """Python writes."""
    FULL.write_bytes(film.read_bytes())


def read(film: Path) -> None:
    """A file that is only read has taken the child over, and lies."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
