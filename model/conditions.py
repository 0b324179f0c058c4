"""What a sample may know before it is made.

In: text embeddings and a generator keyed by the caller. Out: what is kept of them. Known video goes another way:
`Packed.known_N` marks known tokens and `Packed.time_index_N` gives them a time of their own; the DiT and the loss
read both. Shapes: L text tokens, E channels.
"""

import torch
from torch import Tensor


def drop_text(text_LE: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The text, or in `share` of draws no text (0, E), for which the DiT's null token stands.

    Always draws one number, so what comes after it in the same generator doesn't depend on the outcome.
    """
    dropped = float(torch.rand((), generator=generator)) < share
    return text_LE[:0] if dropped else text_LE
