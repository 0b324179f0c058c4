"""Embeddings of native frames → one of their clip. They are rows of a meter, and no column of the index."""

import numpy as np
import pyarrow as pa

COLUMN = pa.field("embedding", pa.list_(pa.float16()))
"""Of a frame, of length 1: half precision moves a cosine by less than 0.001."""


def normalised(vector: np.ndarray) -> np.ndarray:
    """Of length 1, float16 (D,). One without a direction stays zero."""
    vector = np.asarray(vector, np.float32)
    return (vector / max(float(np.linalg.norm(vector)), np.finfo(np.float32).tiny)).astype(np.float16)


def clip_embedding(rows: pa.Table) -> np.ndarray | None:
    """The mean of a clip's frames, of length 1 again: float16 (D,); None if no native frame lies inside the
    clip.

    Args:
        rows: of the meter `tags` or `clip`, those inside the clip.
    """
    if not len(rows):
        return None
    column = rows[COLUMN.name].combine_chunks()
    return normalised(
        column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(rows), -1).mean(0)
    )
