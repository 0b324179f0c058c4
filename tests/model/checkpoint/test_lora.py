"""An adapter learns, leaves what it sits on as it was, and comes back the same from a file and inside the
weights."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.checkpoint import lora
from model.checkpoint.lora import add_lora, load_lora, lora_parameters, merge_lora, save_lora
from model.config import DiTConfig
from model.dit.network import DiT
from model.dit.tokens import Sample, pack

CONFIG = {"width": 48, "depth": 2, "heads": 2, "latent_channels": 4, "text_dim": 8}
MAPS = [
    "attention.qkv",
    "attention.out",
    "text_attention.q",
    "text_attention.kv",
    "text_attention.out",
    "ffn.up",
    "ffn.down",
]


def base(**changes) -> DiT:
    """A DiT whose zero-initialised maps are not zero, as after training."""
    dit = DiT(DiTConfig(**{**CONFIG, **changes}), seed=1)
    generator = torch.Generator().manual_seed(2)
    for module in dit.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02, generator=generator)
    return dit


def batch(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents, text = (torch.randn(shape, generator=generator) for shape in ((4, 2, 4, 6), (3, 8)))
    return pack([Sample(latents, 8.0, text)]).model_inputs(torch.tensor([0.4]))


@pytest.fixture(scope="module")
def tuned() -> tuple[DiT, list[float]]:
    """A network with an adapter after some steps, and the loss at each."""
    dit = base()
    add_lora(dit, rank=4, seed=3)
    trained = [p for p in dit.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.AdamW(trained, lr=1e-2), []
    for _ in range(20):
        loss = (dit(**batch()) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return dit, losses


def outputs(dit: DiT) -> Tensor:
    with torch.no_grad():
        return dit(**batch(7))


def test_only_the_adapter_learns_and_the_rest_stays_as_it_was_bit_for_bit(tuned):
    dit, losses = tuned
    assert losses[-1] < 0.8 * losses[0]
    before = base().state_dict()
    after = {
        name.replace(".base_layer.", "."): t for name, t in dit.state_dict().items() if ".lora_" not in name
    }
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    names = {name for name, p in dit.named_parameters() if p.requires_grad}
    assert names == lora_parameters(dit).keys()
    assert names == {
        f"blocks.{i}.{m}.lora_{side}.default.weight" for i in range(2) for m in MAPS for side in "AB"
    }
    assert all(parameter.grad.any() for parameter in lora_parameters(dit).values())


def test_a_new_adapter_changes_nothing_and_follows_from_its_seed():
    one, same, other = (base() for _ in range(3))
    state = torch.get_rng_state()
    for dit, seed in ((one, 1), (same, 1), (other, 2)):
        add_lora(dit, rank=4, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(outputs(one), outputs(base()))
    pairs = [
        (lora_parameters(one)[n], lora_parameters(same)[n], lora_parameters(other)[n])
        for n in lora_parameters(one)
    ]
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)
    assert one.training
    with pytest.raises(ValueError, match="has an adapter already"):
        add_lora(one, rank=4)


def test_saved_and_loaded_it_does_the_same(tuned, tmp_path):
    dit, _ = tuned
    for name in ("a", "b"):
        save_lora(dit, tmp_path / name)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [lora.CONFIG, lora.WEIGHTS]
    assert all(
        (tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes()
        for n in (lora.CONFIG, lora.WEIGHTS)
    )
    again = base()
    load_lora(again, tmp_path / "a")
    assert torch.equal(outputs(again), outputs(dit))
    assert not torch.allclose(outputs(again), outputs(base()), atol=1e-3)


def test_peft_reads_it_itself(tuned, tmp_path):
    from peft import PeftModel

    save_lora(tuned[0], tmp_path)
    with torch.no_grad():
        made = PeftModel.from_pretrained(base(), str(tmp_path))(**batch(7))
    assert torch.equal(made, outputs(tuned[0]))


def test_merged_it_does_the_same_and_is_a_plain_network(tuned, tmp_path):
    save_lora(tuned[0], tmp_path)
    dit = base()
    load_lora(dit, tmp_path)
    merge_lora(dit)
    assert dit.state_dict().keys() == base().state_dict().keys()
    assert [type(module) for module in dit.modules()] == [type(module) for module in base().modules()]
    assert all(parameter.requires_grad for parameter in dit.parameters())
    assert torch.allclose(outputs(dit), outputs(tuned[0]), atol=1e-5)
    with pytest.raises(ValueError, match="no adapter to merge"):
        merge_lora(dit)
    load_lora(dit, tmp_path)  # it can be adapted again


def test_scale_is_how_much_of_it_counts(tuned, tmp_path):
    save_lora(tuned[0], tmp_path)
    made = {}
    for scale in (0.0, 0.5, 1.0):
        dit = base()
        load_lora(dit, tmp_path, scale)
        merge_lora(dit)
        made[scale] = dit.blocks[0].ffn.up.weight.detach()
    assert torch.equal(made[0.0], base().blocks[0].ffn.up.weight)
    assert torch.allclose(made[0.5], (made[0.0] + made[1.0]) / 2, atol=1e-6)


def test_alpha_over_rank_is_the_scale_it_is_trained_with():
    dit = base()
    add_lora(dit, rank=4, alpha=2.0)
    assert dit.blocks[0].ffn.up.scaling == {"default": 0.5}


def test_one_that_does_not_fit_is_told_why(tuned, tmp_path):
    save_lora(tuned[0], tmp_path)
    with pytest.raises(ValueError, match=r"doesn't fit this network: wrong shape \(28\)"):
        load_lora(base(width=32), tmp_path)
    with pytest.raises(ValueError, match=r"doesn't fit this network: unexpected \(14\): blocks\.1"):
        load_lora(base(depth=1), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no adapter_config\.json"):
        load_lora(base(), tmp_path / "nowhere")
    state = load_file(tmp_path / lora.WEIGHTS)
    first = sorted(state)[0]
    state[first.replace("ffn", "mlp").replace("attention", "attn")] = state.pop(first)
    save_file(state, tmp_path / lora.WEIGHTS)
    with pytest.raises(ValueError, match=r"missing \(1\).*unexpected \(1\).*renamed\? \(1\)"):
        load_lora(base(), tmp_path)
    config = json.loads((tmp_path / lora.CONFIG).read_text())
    (tmp_path / lora.CONFIG).write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(ValueError, match="of kind 'IA3', not LORA"):
        load_lora(base(), tmp_path)


def test_without_peft_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(lora.importlib.util, "find_spec", lambda name: None)
    for call in (
        lambda: add_lora(base(), 4),
        lambda: load_lora(base(), tmp_path),
        lambda: merge_lora(base()),
    ):
        with pytest.raises(FileNotFoundError, match=r"pip install 'rushes\[lora\]'"):
            call()
