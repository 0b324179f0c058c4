"""What is counted on paper is what is there: parameters, operations, bytes."""

import re
import subprocess
import sys

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from model.config import DIT_SIZES, RECOMPUTE, DiTConfig, dit_config
from model.dit.accounting import (
    Sharding,
    activation_bytes,
    forward_flops,
    generation_bytes,
    linear_maps,
    parameters,
    part_of,
    training_flops,
    training_memory,
    vector_parameters,
    video_tokens,
)
from model.dit.network import DiT
from model.dit.tokens import PackedBatch, Sample, pack

SMALL = {"width": 48, "depth": 3, "heads": 2, "latent_channels": 4, "text_dim": 20}


def batch(cfg: DiTConfig, tokens: tuple[int, int, int], text_tokens: int) -> PackedBatch:
    """One video of (time, rows, columns) tokens."""
    shape = (cfg.latent_channels, *(n * patch for n, patch in zip(tokens, cfg.patch, strict=True)))
    return pack([Sample(torch.randn(shape), 8.0, torch.randn(text_tokens, cfg.text_dim))], cfg.patch)


@pytest.mark.parametrize("ffn", ["gelu", "swiglu"])
@pytest.mark.parametrize("size", DIT_SIZES)
def test_every_parameter_is_counted_by_its_name(size, ffn):
    cfg = dit_config(size, ffn=ffn)
    with torch.device("meta"):
        dit = DiT(cfg)
    there: dict[str, int] = {}
    for name, parameter in dit.named_parameters():
        name = re.sub(r"^blocks\.\d+\.", "blocks.*.", name)
        there[name] = there.get(name, 0) + parameter.numel()
    counted = vector_parameters(cfg)
    for one in linear_maps(cfg):
        counted[f"{one.name}.weight"] = one.copies * one.inputs * one.outputs
        counted[f"{one.name}.bias"] = one.copies * one.outputs
    assert counted == there
    assert sum(parameters(cfg).values()) == sum(there.values())
    assert parameters(cfg).keys() == {part_of(name) for name in there}


@pytest.mark.parametrize(("size", "billions"), [("1.3B", 1.3), ("5B", 5), ("8B", 8), ("14B", 14)])
def test_a_size_is_about_what_its_name_says(size, billions):
    assert sum(parameters(dit_config(size)).values()) == pytest.approx(billions * 1e9, rel=0.2)


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("ffn", ["gelu", "swiglu"])
def test_operations_are_those_that_torch_counts(ffn, recompute):
    cfg = DiTConfig(**SMALL, ffn=ffn)
    dit, packed = DiT(cfg), batch(cfg, (2, 3, 5), 7)
    dit.recompute = recompute
    torch.nn.init.ones_(dit.leave.map.weight)
    with sdpa_kernel(SDPBackend.MATH):  # a fused kernel's backward makes the scores a second time
        with FlopCounterMode(display=False) as counter:
            made = dit(**packed.model_inputs(torch.tensor([0.5])))
        assert counter.get_total_flops() == sum(forward_flops(cfg, 30, 7).values())
        with FlopCounterMode(display=False) as counter:
            dit(**packed.model_inputs(torch.tensor([0.5]))).square().sum().backward()
    assert made.shape == (30, 16)
    assert counter.get_total_flops() == training_flops(cfg, 30, 7, recompute)


def test_attention_is_a_part_and_recomputing_costs_a_forward_pass_of_the_blocks():
    cfg = dit_config("8B")
    flops = forward_flops(cfg, 30_000, 256)
    assert flops["attention.scores"] == 30 * 4 * 30_000**2 * 4096
    blocks = sum(n for part, n in flops.items() if part.startswith("blocks") or part.endswith("scores"))
    assert training_flops(cfg, 30_000, 256, "full") == training_flops(cfg, 30_000, 256) + blocks
    with pytest.raises(ValueError, match="did you mean 'full'"):
        training_flops(cfg, 30_000, 256, "ful")


def test_tokens_of_a_video_are_those_of_its_latents():
    cfg = dit_config("tiny")
    assert video_tokens(cfg, 64, 48, 17) == 5 * 3 * 4 == len(batch(cfg, (5, 3, 4), 1).tokens_ND)
    assert video_tokens(cfg, 50, 36, 1) == 1 * 3 * 4


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("ffn", ["gelu", "swiglu"])
@pytest.mark.parametrize("ffn_ratio", [2.0, 6.0])
def test_what_is_kept_for_the_backward_pass_is_about_what_is_counted(ffn, ffn_ratio, precision):
    kept = []
    for depth, text in ((1, 16), (3, 16), (3, 256)):
        cfg = DiTConfig(
            width=128, depth=depth, heads=4, latent_channels=4, text_dim=16, ffn=ffn, ffn_ratio=ffn_ratio
        )
        kept.append(
            (
                _kept_bytes(cfg, batch(cfg, (4, 16, 16), text), precision),
                activation_bytes(cfg, 1024, text, precision),
            )
        )
    (one, said_one), (three, said_three), (wordy, said_wordy) = kept
    assert said_three - said_one == pytest.approx(three - one, rel=0.1)
    assert said_wordy - said_three == pytest.approx(wordy - three, rel=0.25)


def _kept_bytes(cfg: DiTConfig, packed: PackedBatch, precision: str, recompute: str = "none") -> int:
    """Bytes that autograd holds after a forward pass, but for weights and copies of them."""
    dit = DiT(cfg)
    dit.recompute = recompute
    shapes = {tuple(p.shape) for p in dit.parameters()} | {tuple(p.shape[::-1]) for p in dit.parameters()}
    own = {p.untyped_storage().data_ptr() for p in dit.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own and tuple(tensor.shape) not in shapes:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        saved_tensors_hooks(hold, lambda t: t),
    ):
        made = dit(**packed.model_inputs(torch.tensor([0.5])))
    assert made.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_what_is_kept_is_less_when_it_is_made_again(recompute, precision):
    kept, said = [], []
    for depth in (1, 4):
        cfg = DiTConfig(width=128, depth=depth, heads=4, latent_channels=4, text_dim=16)
        kept.append(_kept_bytes(cfg, batch(cfg, (4, 16, 16), 16), precision, recompute))
        said.append(activation_bytes(cfg, 1024, 16, precision, recompute))
    assert said[1] - said[0] == pytest.approx(kept[1] - kept[0], rel=0.1)
    # one block has everything when its turn comes
    assert said[0] > activation_bytes(cfg, 1024, 16, precision) / 4


class Peak(TorchDispatchMode):
    """The most bytes that lived at once in tensors made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self._alive = 0, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for storage in (t.untyped_storage() for t in tree_leaves(made) if isinstance(t, torch.Tensor)):
            self._alive.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self._alive = {key: one for key, one in self._alive.items() if not one[0].expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self._alive.values()))
        return made


@pytest.mark.parametrize("ffn", ["gelu", "swiglu"])
def test_what_is_alive_while_sampling_is_about_what_is_counted(ffn):
    cfg = DiTConfig(width=128, depth=2, heads=4, latent_channels=4, text_dim=16, ffn=ffn)
    dit, packed = DiT(cfg), batch(cfg, (4, 16, 32), 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), Peak() as peak:
        dit(**packed.model_inputs(torch.tensor([0.5])))
    said = generation_bytes(cfg, 1024)
    assert said["weights"] == sum(p.nbytes for p in dit.parameters())
    assert said["half"] + said["activations"] == pytest.approx(peak.bytes, rel=0.1)


def test_zero_divides_the_state_then_the_gradients_then_the_weights():
    cfg = dit_config("B")
    alone, *stages = (
        training_memory(cfg, Sharding(s, w), 1000, 10) for s, w in ((1, 1), (1, 8), (2, 8), (3, 8))
    )
    total = sum(parameters(cfg).values())
    assert (alone.weights, alone.masters, alone.moments, alone.average) == (
        4 * total,
        4 * total,
        8 * total,
        4 * total,
    )
    share = -(-total // 8)
    for memory, gradients, weights in zip(stages, (total, share, share), (total, total, share), strict=True):
        assert (memory.masters, memory.moments, memory.average) == (4 * share, 8 * share, 4 * share)
        assert (memory.gradients, memory.weights) == (4 * gradients, 4 * weights)
        assert memory.judged == 4 * total
        assert memory.activations == alone.activations
    with pytest.raises(ValueError, match="ZeRO stage 4 on 8 workers"):
        training_memory(cfg, Sharding(4, 8), 1, 1)


def test_it_needs_no_torch():
    code = "import sys, model.dit.accounting; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
