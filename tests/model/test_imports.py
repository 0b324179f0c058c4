"""Importing the model costs torch, numpy and safetensors; its configs cost nothing."""

import subprocess
import sys
from pathlib import Path

HEAVY = {
    *(
        "transformers",
        "ray",
        "deepspeed",
        "cv2",
        "av",
        "decord",
        "hydra",
        "omegaconf",
        "torchvision",
        "open_clip",
        "peft",
        "diffusers",
    ),
    *("pipelines", "recaption", "jobs", "conf"),
}
MODEL = Path(__file__).parents[2] / "model"


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_all_of_the_model_needs_nothing_heavier_than_torch():
    files = [path.relative_to(MODEL.parent) for path in MODEL.rglob("*.py") if path.stem != "__init__"]
    modules = [".".join(path.with_suffix("").parts) for path in files]
    assert len(modules) > 30
    loaded = loaded_after("import " + ", ".join(modules))
    assert {"torch", "safetensors"} <= loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_configs_need_no_torch():
    assert loaded_after("import model.config").isdisjoint({"torch", "numpy", "safetensors"} | HEAVY)
