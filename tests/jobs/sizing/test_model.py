"""`rushes model` prints figures that agree with each other, for people and for programs, and imports no torch
for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import model
from jobs.cli.main import DONE, WRONG_USAGE, main
from jobs.sizing.config import ModelConfig
from model.config import DIT_SIZES, dit_config
from model.dit.accounting import Sharding, parameters, training_memory

DOCS = Path(__file__).parents[3] / "docs" / "training.md"


def told(capsys, *arguments: str) -> dict:
    assert main(["model", "json=true", *arguments]) == DONE
    return json.loads(capsys.readouterr().out)


def test_a_size_is_told_in_full(capsys):
    of = told(capsys, "size=8B", "width=832", "height=480", "frames=81")
    assert of["tokens"] == 21 * 30 * 52
    assert (
        of["parameters"]["total"]
        == sum(of["parameters"]["parts"].values())
        == sum(parameters(dit_config("8B")).values())
    )
    forward = of["flops"]["forward"]
    assert forward["total"] == sum(forward["parts"].values())
    assert of["flops"]["forward_per_token"] * of["tokens"] == pytest.approx(forward["total"])
    steps = of["flops"]["training"]
    assert 2.9 * forward["total"] < steps["none"] < 3 * forward["total"] < steps["selective"] < steps["full"]
    assert 3.9 * forward["total"] < steps["full"] < 4 * forward["total"]
    totals = [of["training_bytes"][f"zero_{stage}"]["total"]["full"] for stage in (1, 2, 3)]
    assert totals == sorted(totals, reverse=True)
    assert (
        totals[2]
        == training_memory(dit_config("8B"), Sharding(3, 8), of["tokens"], 256, recompute="full").total
    )


def test_what_is_asked_for_is_what_is_counted(capsys):
    args = [
        "size=tiny",
        "tokens=1000",
        "text_tokens=7",
        "workers=2",
        "precision=fp32",
        "model.ffn=swiglu",
        "model.width=256",
    ]
    of = told(capsys, *args)
    assert (of["tokens"], of["text_tokens"], of["workers"], of["video"]) == (1000, 7, 2, None)
    assert (of["config"]["ffn"], of["config"]["width"], of["config"]["head_dim"]) == ("swiglu", 256, 64)
    assert of["training_bytes"]["zero_1"]["half"] == 0
    coarse = told(
        capsys, "size=tiny", "width=64", "height=64", "frames=9", "stride_time=8", "stride_space=16"
    )
    assert coarse["tokens"] == 2 * 2 * 2


def test_without_a_size_it_is_a_table_of_all(capsys):
    assert list(told(capsys)) == list(DIT_SIZES) == list(told(capsys, "size=all"))
    assert main(["model"]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(DIT_SIZES) + 1]] == list(DIT_SIZES)
    assert len({len(line) for line in lines[: len(DIT_SIZES) + 1]}) == 1


def test_for_people_the_same_figures_are_rounded(capsys):
    assert main(["model", "size=B", "workers=1"]) == DONE
    text = capsys.readouterr().out
    total = sum(parameters(dit_config("B")).values())
    for part in (
        f"B: {total:,} parameters",
        "832 × 480, 81 frames: 32,760 tokens",
        "memory of the one worker",
        "a saved state has 1.77 GiB",
    ):
        assert part in text
    assert "e+" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["size=XLL"], "did you mean 'XL'?"),
        (["size=B", "model.widht=3"], "did you mean 'width'?"),
        (["model.heads=7"], "must be an even head size"),
        (["workers=0"], "too small: at least 1"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_printed(arguments, said, capsys, monkeypatch):
    monkeypatch.setattr(model, "run", None)
    assert main(["model", *arguments]) == WRONG_USAGE
    assert said in capsys.readouterr().err


def test_it_needs_no_torch():
    code = (
        "import sys; from jobs.cli.main import main; assert main(['model', 'size=14B']) == 0; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_more_precision_and_a_gate_keep_more_activations():
    def kept(ffn: str, precision: str) -> int:
        cfg = ModelConfig(size="S", model={"ffn": ffn}, precision=precision)
        return model.account(dit_config("S", ffn=ffn), cfg)["training_bytes"]["zero_2"]["activations"]["none"]

    assert kept("gelu", "bf16") < kept("swiglu", "bf16") < kept("swiglu", "fp32")
    assert kept("gelu", "bf16") < kept("gelu", "fp32") < kept("swiglu", "fp32")


def test_the_documentation_has_the_same_sizes():
    rows = [line.split(" | ") for line in DOCS.read_text().splitlines() if line.startswith("| ")]
    shown = {row[0].removeprefix("| "): row[1] for row in rows if row[0].removeprefix("| ") in DIT_SIZES}
    assert shown == {size: f"{sum(parameters(dit_config(size)).values()):,}" for size in DIT_SIZES}
