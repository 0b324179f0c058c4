"""What a training knows of itself, as a model card takes it.

In: configs and the windows that were trained on. Out: the facts of `model.checkpoint.card`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from model.checkpoint.card import DataFacts
from pipelines.batches.planner import Item


def data_facts(
    items: Sequence[Item],
    held_out: Sequence[Item],
    fps: float,
    max_frames: int,
    max_pixels: int,
    captions: Mapping[str, float],
) -> DataFacts:
    """The trained windows counted: clips, and windows by shape.

    Args:
        captions: kind → weight; {} where no text was read.
    """
    return DataFacts(
        clips=len({item.clip_id for item in items}),
        windows=Counter(item.shape for item in items),
        held_out_windows=len({(item.clip_id, item.window) for item in held_out}),
        fps=fps,
        max_frames=max_frames,
        max_pixels=max_pixels,
        captions=dict(captions),
    )
