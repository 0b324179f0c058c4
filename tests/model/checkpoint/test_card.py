"""A card says what it was told, in a form that a hub can read, and nothing of the machine."""

import dataclasses

import pytest
import yaml

from model.checkpoint.card import DataFacts, DiTFacts, LoraFacts, VAEFacts, dit_card, vae_card, without_paths
from model.config import FlowConfig, SampleConfig, dit_config, vae_config

DATA = DataFacts(
    clips=1234,
    windows={(17, 64, 112): 30, (5, 112, 64): 12, **{(1, 16, 16 * i): 1 for i in range(1, 7)}},
    held_out_windows=9,
    fps=8.0,
    max_frames=17,
    max_pixels=7168,
    captions={"short": 0.25, "dense": 0.75, "tags": 0.0},
)
DIT = DiTFacts(
    config=dit_config("S"),
    parameters=34_567_890,
    steps=20_000,
    data=DATA,
    text_encoder="t5:/home/someone/models/t5-xxl@max=256+minilm",
    vae={"latent_channels": 16, "stride_time": 4, "stride_space": 8},
    flow=FlowConfig(),
    sample=SampleConfig(steps=30, guidance=4.5),
    tasks={"text": 0.6, "first_frame": 0.4},
    precision="bf16",
)
VAE = VAEFacts(
    vae_config("small"), 1_234_567, 5000, DATA, {"perceptual": 0.02, "kl": 1e-6, "adversarial": 0.0}, "bf16"
)


def front_matter(card: str) -> dict:
    empty, head, _ = card.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(head)


def test_a_hub_reads_the_head():
    head = front_matter(dit_card(DIT))
    assert head["license"] == "other"
    assert head["library_name"] == "rushes"
    assert head["pipeline_tag"] == "text-to-video"
    assert "diffusion" in head["tags"]
    assert front_matter(vae_card(VAE, license="apache-2.0"))["license"] == "apache-2.0"


@pytest.mark.parametrize(
    "license", ["apache-2.0", "true", "no: such thing", "1.0", '"quoted" # x', "Ours – alone"]
)
def test_any_license_is_text_to_yaml(license):
    assert front_matter(dit_card(DIT, license))["license"] == license


@pytest.mark.parametrize("license", ["", "  ", "mit\ntags: []"])
def test_a_license_that_would_be_more_than_a_name_is_refused(license):
    with pytest.raises(ValueError, match="must be a name on one line"):
        dit_card(DIT, license)


def test_the_facts_are_in_it():
    card = dit_card(DIT)
    for said in ("34,567,890", "20,000 optimiser steps", "384 × 12 × 6", "1,234", "48, and 9 held out",
        "112 × 64 × 17 frames: 30",
                 "2 other shapes: 2", "17 frames, 2.12 s", "dense 0.75, short 0.25.",
                 "text 0.6, first_frame 0.4", "euler, 30 steps",
                 "| guidance | 4.5 |", "`t5:t5-xxl@max=256+minilm`", "4 × 8 × 8 pixels a latent",
                 "trained from random weights",
                 "rushes generate checkpoint=<this folder>"):  # fmt: skip
        assert said in card, said
    assert "tags 0" not in card
    said = vae_card(VAE)
    assert "perceptual 0.02, kl 1e-06." in said
    assert "rushes encode dataset=<a dataset> vae=<this folder>" in said


def test_an_adapter_is_told_with_its_use():
    card = dit_card(dataclasses.replace(DIT, fine_tuned=True, lora=LoraFacts(16, 8.0, 99_000)))
    assert (
        "fine-tuned from another checkpoint through an adapter (LoRA, rank 16, alpha 8, 99,000 parameters)"
        in card
    )
    assert "lora=<this folder>/lora" in card
    assert "lora" in front_matter(card)["tags"]
    assert "lora" not in dit_card(DIT)


def test_equal_facts_give_equal_text_whatever_their_order():
    data = dataclasses.replace(
        DATA, windows=dict(reversed(DATA.windows.items())), captions=dict(reversed(DATA.captions.items()))
    )
    assert dit_card(dataclasses.replace(DIT, data=data)) == dit_card(DIT)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("minilm", "minilm"),
        ("t5:google/t5-v1_1-xxl@max=64", "t5:google/t5-v1_1-xxl@max=64"),
        ("umt5:~/models/umt5/", "umt5:umt5"),
        ("hf:/a/b/c@layer=-2+clip:local-dir:/d/e@pooled", "hf:c@layer=-2+clip:local-dir:e@pooled"),
        ("clip:ViT-L-14/openai+clip:ViT-B-32//w/x.pt", "clip:ViT-L-14/openai+clip:ViT-B-32/x.pt"),
    ],
)
def test_where_a_text_encoder_lies_is_nobodys_business(name, shown):
    assert without_paths(name) == shown
