"""Evidence and TransNetV2's probabilities → hard cuts, fades and dissolves.

In: the signals of a video. Out: its transitions in order.
"""

from fractions import Fraction

import numpy as np
import pyarrow as pa

from pipelines.config import ShotConfig
from pipelines.shot_detection.transition import Transition


def transnet(signals: pa.Table, time_base: Fraction, cfg: ShotConfig) -> list[Transition]:
    """Stretches that the many-hot head marks."""
    probability = np.nan_to_num(signals["transition"].to_numpy(zero_copy_only=False))
    edges = np.flatnonzero(
        np.diff(np.concatenate([[False], probability >= cfg.transition_threshold, [False]]).astype(int))
    )
    found = []
    for start, end in edges.reshape(-1, 2).tolist():
        confidence = float(probability[start:end].max())
        if end - start <= 2:
            found.append(Transition("hard", end - 1, end - 1, confidence))
        else:
            found.append(Transition("dissolve", start, end, confidence))
    return [t for t in found if t.start > 0]
