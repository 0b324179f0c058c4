"""When the frames of a video are shown: from its header as it was committed, or, if that is gone, from the
footage again.

In: a video's id and its file. Out: its clock. To read a clock is to read all of a file; captions, second
looks and cuts need only a stretch of it.
"""

import pyarrow as pa

from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import header_fingerprint
from pipelines.dataset.stages import Stage
from pipelines.measure import sandboxed
from pipelines.media.clock import Clock
from pipelines.media.ranged import File
from pipelines.sandbox import child
from pipelines.storage.base import Store


class Clocks:
    """Clocks of videos; the last one is kept, since clips of one video follow each other."""

    def __init__(self, store: Store, cfg: CurateConfig):
        self._cfg = cfg
        self._headers = Stage(store, "probe", header_fingerprint(cfg))
        self._last: tuple[str, Clock] | None = None

    def get(self, video_id: str, file: File, size_bytes: int) -> Clock:
        """The clock of a video whose file has so many bytes.

        Raises:
            MediaError: see `confined.read_times`.
        """
        if self._last is None or self._last[0] != video_id:
            times = self._headers.lookup(video_id)
            if not isinstance(times, pa.Table):
                limits = sandboxed.header_limits(self._cfg.limits, size_bytes)
                times = child.call(sandboxed.read_times, file, self._cfg.footage_options, limits=limits)
            self._last = video_id, sandboxed.header_clock(times)
        return self._last[1]
