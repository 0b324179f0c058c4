"""Compiled phases give what plain ones give, in a number of graphs that batches can't raise."""

import torch

from model.dit.compiled import MAX_GRAPHS, compile_phases
from model.dit.tokens import pack
from tests.model.dit.test_dit import TIMES, made, tiny


def test_graphs_are_bounded_whatever_comes_and_values_are_the_same():
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph.forward

    plain, compiled = tiny(depth=3).train(), compile_phases(tiny(depth=3).train(), backend=counting)
    batches = [
        made((1 + n % 3, 4, 4 + 2 * (n % 4)), (2, 4, 4), texts=(1 + n % 5, 3))[: 1 + n % 2] for n in range(10)
    ]
    counts = []
    for samples in batches:
        packed, times = pack(samples), TIMES[: len(samples)]
        outputs = []
        for dit in (plain, compiled):
            dit.zero_grad()
            v = dit(**packed.model_inputs(times))
            v.square().mean().backward()
            outputs.append((v.detach(), dit.blocks[1].ffn.up.weight.grad))
        for a, b in zip(*outputs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
        counts.append(len(graphs))
    assert 0 < counts[-1] <= MAX_GRAPHS
    assert counts[-1] == counts[4], "sizes that come later make no graphs"
    with torch.no_grad():
        compiled(**pack(batches[0]).model_inputs(TIMES[:1]))
    assert len(graphs) <= MAX_GRAPHS


def test_compiling_leaves_weights_and_their_names():
    dit = tiny()
    names = list(dit.state_dict())
    assert list(compile_phases(dit, backend="eager").state_dict()) == names
