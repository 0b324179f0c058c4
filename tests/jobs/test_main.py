"""The command line as a user meets it: real processes, exit codes, near misses, and nothing heavy imported for help."""

import ast
import subprocess
import sys

import pytest

from jobs.compose import ConfigError, compose
from jobs.fields import keys
from jobs.registry import JOBS

HEAVY = ("torch", "ray", "deepspeed", "cv2", "av", "decord", "transformers", "pyarrow")


def rushes(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jobs.main", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def heavy_modules_after(*arguments: str) -> tuple[list[str], str]:
    """Which heavy modules a command has imported when it ends, and what it printed."""
    script = f"import sys; from jobs.main import main; main({list(arguments)}); print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    *text, imported = done.stdout.splitlines()
    return ast.literal_eval(imported), "\n".join(text)


def test_help_names_every_job_and_imports_nothing_heavy():
    imported, text = heavy_modules_after("--help")
    assert imported == []
    for name in [*JOBS, "submit"]:
        assert any(line.split()[:1] == [name] for line in text.splitlines()), f"{name} is not in the help"


@pytest.mark.parametrize("name", sorted(JOBS))
def test_help_of_a_job_shows_every_key_with_its_meaning_and_imports_nothing_heavy(name):
    imported, text = heavy_modules_after(name, "--help")
    assert imported == []
    for key in keys(JOBS[name].config_class()):
        assert f"  {key.path}  [" in text
        assert key.doc, f"{name}: {key.path} has no doc"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "did you mean 'train'?"),
        (["train"], "train needs dataset=… (the dataset to train on) and out=…"),
        (["train", "dataset=d", "out=o", "optm.lr=1"], "did you mean 'optim.lr'?"),
        (["train", "dataset=d", "out=o", "lr=1"], "did you mean 'optim.lr'?"),
        (["train", "dataset=d", "out=o", "optim.lr=fast"], "optim.lr=fast is not a number"),
        (["train", "dataset=d", "out=o", "zero.stage=4"], "it is one of 1, 2, 3"),
        (["train", "dataset=d", "out=o", "size=XXL"], "did you mean 'XL'?"),
        (["train", "dataset=d", "out=o", "max_steps=0"], "too small: at least 1"),
        (["train", "dataset=d", "out=o", "experiment=overfi"], "did you mean 'overfit'?"),
        (["train_vae", "dataset=d", "out=o", "shapes.max_frames=16"], "is not 4k+1, which the VAE needs; try 13 or 17"),
        (["train", "dataset=no/such", "out=o"], "no cached latents"),
        (["train_vae", "dataset=no/such", "out=o"], "no dataset is there"),
        (["curate", "footage=no/such", "dataset=d"], "no/such"),
        (["generate", "checkpoint=no/such", "prompt=x", "out=a.mp4"], "holds no trained model"),
        (["encode", "dataset=no/such", "vae=x"], "no dataset is there"),
        (["evaluate_vae", "checkpoint=no/such", "dataset=d", "out=o"], "checkpoint=no/such holds no VAE"),
        (["evaluate_vae", "checkpoint=c", "dataset=d", "out=o", "perceptual=lpip"], "did you mean 'lpips'?"),
        (["train", "--cgf", "job"], "option '--cgf' is not known"),
        (["submit", "train", "dataset=d", "out=o"], "submit needs ray.address="),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_with_the_way_out_and_exit_code_2(arguments, said, tmp_path):
    done = rushes(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("rushes: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert said in done.stderr


def test_cfg_prints_the_composed_configuration():
    done = rushes("train", "dataset=d", "out=o", "experiment=overfit", "--cfg", "job")
    assert done.returncode == 0
    assert "overfit: 4" in done.stdout
    assert "stage: 2" in done.stdout


@pytest.mark.parametrize(
    "prompt",
    ["a red kite, flying: (high) {up} [now]", 'she said "go"', "it's 5 o'clock", "50% \\", "null", "true", "3"],
)
def test_a_prompt_is_taken_as_typed(prompt):
    cfg = compose(JOBS["generate"], ["checkpoint=c", "out=a.mp4", f"prompt={prompt}"]).cfg
    assert cfg.prompt == prompt


def test_maps_take_new_keys():
    cfg = compose(JOBS["train"], ["dataset=d", "out=o", "model.width=64", "captions.source=0.2"]).cfg
    assert cfg.model == {"width": 64}
    assert cfg.captions == {"short": 0.5, "dense": 0.5, "source": 0.2}


def test_every_experiment_composes():
    from jobs.compose import experiments

    given = {"run": ["footage=f", "out=o"], "train": ["dataset=d", "out=o"], "train_vae": ["dataset=d", "out=o"]}
    found = [(job, name) for job in JOBS.values() for name in experiments(job)]
    assert found
    for job, name in found:
        compose(job, [*given[job.name], f"experiment={name}"])


def test_a_sweep_runs_each_combination_into_its_own_output():
    from jobs.sweep import _own_output, combinations

    runs = combinations(["dataset=d", "out=runs/x", "optim.lr=1e-4,3e-4", "seed=1,2"])
    assert len(runs) == 4
    outs = {
        o
        for i, c in enumerate(runs)
        for o in _own_output(JOBS["train"], c, ["optim.lr", "seed"], i)
        if o.startswith("out=")
    }
    assert len(outs) == 4
    assert all(o.startswith("out='runs/x/") for o in outs)


def test_a_wrong_value_in_a_sweep_is_found_before_anything_runs():
    from jobs.sweep import sweep

    with pytest.raises(ConfigError, match=r"zero\.stage=7"):
        sweep(JOBS["train"], ["dataset=no/such", "out=o", "zero.stage=1,7"])


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("rushes tr", {"train", "train_vae"}),
        ("rushes submit enc", {"encode"}),
        ("rushes train zero.", {"zero.stage="}),
        ("rushes train zero.stage=", {"zero.stage=1", "zero.stage=2", "zero.stage=3"}),
        ("rushes train experiment=", {"experiment=overfit", "experiment=tinyworld"}),
        ("rushes evaluate_vae perceptual=", {"perceptual=efficientnet", "perceptual=lpips"}),
        ("rushes nonsense x", set()),
    ],
)
def test_tab_completion(typed, offered):
    from jobs.completion import candidates

    assert set(candidates([typed])) == offered
