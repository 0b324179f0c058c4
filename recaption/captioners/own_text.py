"""The captioner that adds nothing: a clip's text is what the footage's own list says of its source.

In: a `ClipView`; its frames are not looked at. Out: a `Caption`, empty where the list says nothing.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.ids import fingerprint
from recaption.base import Caption, ClipView, Tags
from recaption.config import CaptionConfig

VERSION = 1


class OwnText:
    """See the module."""

    name = "own_text"

    def __init__(self, cfg: CaptionConfig):
        self.fingerprint = own_text_fingerprint(cfg)

    def num_frames_needed(self, scores: Mapping[str, Any]) -> int:
        """See `Captioner`."""
        return 0

    def caption(self, view: ClipView) -> Caption:
        """See `Captioner`."""
        text = view.text or ""
        return Caption(view.clip_id, text, text, Tags(), f"{self.name}/v{VERSION}")


def own_text_fingerprint(cfg: CaptionConfig) -> str:
    """Its version: nothing else changes what it says."""
    return fingerprint([VERSION, cfg.name])
