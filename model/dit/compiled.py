"""Compile the phases of the DiT's blocks: fewer passes over memory, and a bounded number of graphs for any
batch.

In: a DiT. Out: the same, faster on a GPU after some minutes of compiling. What depends on segments (layouts,
attention) is not compiled. What is, takes rows of any length, so sizes are left open, and blocks share their
graphs. A graph more each is made where one distinct time needs no choice; then no more, whatever comes.
"""

import torch

from model.dit.compile_cache import use_private_compile_cache
from model.dit.network import DiT

MAX_GRAPHS = 12  # three phases, one time or several, with and without gradients


def compile_phases(dit: DiT, backend: str = "inductor") -> DiT:
    """Compile the phases of all blocks, in place; returns the DiT. Its weights and their names stay as they
    are."""
    use_private_compile_cache()
    # weights are inputs of a graph, so blocks can share it
    torch._dynamo.config.inline_inbuilt_nn_modules = True
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MAX_GRAPHS)
    for block in dit.blocks:
        for phase in ("pre_self_attention", "pre_text_attention", "post_attention"):
            compiled = torch.compile(getattr(block, phase), dynamic=True, fullgraph=True, backend=backend)
            setattr(block, phase, compiled)
    return dit
