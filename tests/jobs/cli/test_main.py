"""The command line as a user meets it: real processes, exit codes, near misses, and nothing heavy imported
for help."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.cli.compose import ConfigError, compose
from jobs.cli.fields import keys
from jobs.cli.registry import JOBS
from jobs.cli.sweep import _own_output, combinations, sweep

ROOT = Path(__file__).resolve().parents[3]

HEAVY = ("torch", "ray", "deepspeed", "cv2", "av", "decord", "transformers", "pyarrow")


def rushes(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def heavy_modules_after(*arguments: str) -> tuple[list[str], str]:
    """Which heavy modules a command has imported when it ends, and what it printed."""
    script = (
        f"import sys; from jobs.cli.main import main; main({list(arguments)}); print([m for m in {HEAVY} if "
        "m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
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
        (["encode", "dataset=d", "vae=v", "workers.gpu=true"], "did you mean 'gpu'?"),
        (["generate", "checkpoint=c", "prompt=p", "out=o.mp4", "workers.gpu=true"], "did you mean 'gpu'?"),
        (["train", "dataset=d", "out=o", "optim.lr=fast"], "optim.lr=fast is not a number"),
        (["train", "dataset=d", "out=o", "zero.stage=4"], "it is one of 1, 2, 3"),
        (["train", "dataset=d", "out=o", "size=XXL"], "did you mean 'XL'?"),
        (["train", "dataset=d", "out=o", "max_steps=0"], "too small: at least 1"),
        (["train", "dataset=d", "out=o", "experiment=overfi"], "did you mean 'overfit'?"),
        (
            ["train_vae", "dataset=d", "out=o", "shapes.max_frames=16"],
            "is not 4k+1, which the VAE needs; try 13 or 17",
        ),
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
    [
        "a red kite, flying: (high) {up} [now]",
        'she said "go"',
        "it's 5 o'clock",
        "50% \\",
        "null",
        "true",
        "3",
    ],
)
def test_a_prompt_is_taken_as_typed(prompt):
    cfg = compose(JOBS["generate"], ["checkpoint=c", "out=a.mp4", f"prompt={prompt}"]).cfg
    assert cfg.prompt == prompt


TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40) | st.text(
    "ab=,'\"\\${}[]() :~+-?%#\n\t", max_size=20
)


@given(prompt=TEXTS, out=TEXTS, encoder=TEXTS)
@example(prompt="???", out="${oc.env:HOME}", encoder="null ")
@example(prompt="${seed}", out="a\\", encoder="\\${x}")
@settings(max_examples=40, deadline=None)
@example(prompt='"quoted, as typed"', out="'", encoder="a=b, c=d")
def test_text_arrives_as_it_was_typed_and_so_it_is_written_down(prompt, out, encoder):
    typed = [f"checkpoint={out}", f"out={out}", f"prompt={prompt}", f"text_encoder={encoder}"]
    composed = compose(JOBS["generate"], typed)
    assert (composed.cfg.prompt, composed.cfg.out, composed.cfg.checkpoint) == (prompt, out, out)
    assert composed.cfg.text_encoder == (None if encoder == "null" else encoder)
    assert yaml.safe_load(composed.yaml)["prompt"] == prompt or "\x85" in prompt or not prompt.isprintable()


@given(first=TEXTS, second=TEXTS)
@settings(max_examples=10, deadline=None)
def test_text_arrives_as_it_was_typed_in_a_sweep_too(first, second):
    typed = ["checkpoint=c", "out=my videos/v.mp4", f"prompt={first}", f"prompt={second}", "seed=1,2"]
    commands = [[argument for argument, _ in run] for run in combinations(JOBS["generate"], typed)]
    made = [compose(JOBS["generate"], command).cfg for command in commands]
    assert [(cfg.prompt, cfg.seed) for cfg in made] == [(p, s) for p in (first, second) for s in (1, 2)]


def test_nothing_is_interpolated_in_what_is_no_text_either():
    with pytest.raises(ConfigError, match=r"seed=\$\{steps\} is not a whole number"):
        compose(JOBS["generate"], ["checkpoint=c", "out=a.mp4", "prompt=x", "steps=3", "seed=${steps}"])
    cfg = compose(JOBS["train"], ["dataset=d", "out=o", "model.ffn=${oc.env:HOME}"]).cfg
    assert cfg.model == {"ffn": "${oc.env:HOME}"}


MIX = {"text": 0.35, "first_frame": 0.2, "first": 0.15, "last": 0.1, "both_ends": 0.1, "interior": 0.05,
    "independent": 0.05}  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "mix"),
    [
        ("conditions.mix={text: 1.0}", {"text": 1.0}),
        ("conditions.mix={text: 1, last: 0}", {"text": 1.0, "last": 0.0}),
        ("+conditions.mix={text: 1.0}", {**MIX, "text": 1.0}),
        ("conditions.mix.text=1.0", {**MIX, "text": 1.0}),
    ],
)
def test_a_map_given_replaces_the_map_and_an_entry_or_a_plus_adds_to_it(typed, mix):
    assert compose(JOBS["train"], ["dataset=d", "out=o", typed]).cfg.conditions.mix == mix


def test_maps_take_new_keys_in_the_order_typed():
    cfg = compose(JOBS["train"], ["dataset=d", "out=o", "model.width=64", "captions.source=0.2"]).cfg
    assert cfg.model == {"width": 64}
    assert cfg.captions == {"short": 0.5, "dense": 0.5, "source": 0.2}
    cfg = compose(JOBS["train"], ["dataset=d", "out=o", "captions={source: 1}", "captions.short=0.5"]).cfg
    assert cfg.captions == {"source": 1.0, "short": 0.5}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("captions=1", "captions=1 is not a map of float"),
        ("captions.short=much", "captions.short=much is not a number"),
        ("captions={short: much}", "is not a map of float"),
        ("+seed=1", r"\+seed: only maps are added to"),
        ("seed=1,2", "several values are for a sweep"),
        ("captions.short=1,2", "several values are for a sweep"),
        ("captions={short: 1", "can't be read as key=value"),
        ("~seed", "'~seed' is not key=value"),
        ("captoins={short: 1}", "did you mean 'captions'"),
    ],
)
def test_what_is_no_map_and_no_value_is_said_in_words(typed, said):
    with pytest.raises(ConfigError, match=said):
        compose(JOBS["train"], ["dataset=d", "out=o", typed])


def test_every_experiment_composes():
    from jobs.cli.compose import experiments

    given = {
        "run": ["footage=f", "out=o"],
        "train": ["dataset=d", "out=o"],
        "train_vae": ["dataset=d", "out=o"],
    }
    found = [(job, name) for job in JOBS.values() for name in experiments(job)]
    assert found
    for job, name in found:
        compose(job, [*given[job.name], f"experiment={name}"])


def test_a_sweep_runs_each_combination_into_its_own_output():
    runs = combinations(JOBS["train"], ["dataset=d", "out=my runs/x", "optim.lr=1e-4,3e-4", "seed=1,2"])
    outs = [o for run in runs for o in _own_output(JOBS["train"], run) if o.startswith("out=")]
    assert outs == [
        f"out=my runs/x/optim.lr={lr},seed={seed}" for lr in ("0.0001", "0.0003") for seed in (1, 2)
    ]


def test_a_sweep_over_texts_names_its_outputs_by_their_number():
    typed = ["checkpoint=c", "out=my videos/v.mp4", "prompt=a red kite, flying", "prompt=a/b"]
    runs = combinations(JOBS["generate"], typed)
    assert [_own_output(JOBS["generate"], run)[1] for run in runs] == [
        f"out=my videos/v_prompt_{i}.mp4" for i in (1, 2)
    ]


def test_a_wrong_value_in_a_sweep_is_found_before_anything_runs():
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
    from jobs.cli.completion import candidates

    assert set(candidates([typed])) == offered


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_stdout_that_takes_nothing_is_one_line_or_none():
    """It leads to a full disk, to a reader who has gone, or nowhere."""
    for redirected, code, said in (
        (">/dev/full", 1, "No space left on device"),
        ("| true", 0, ""),
        (">&-", 0, ""),
    ):
        command = f"set -o pipefail; {sys.executable} -m jobs.cli.main --help {redirected}"
        done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, len(done.stderr.splitlines())) == (code, bool(said)), done.stderr
        assert said in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_job_whose_stdout_takes_nothing_says_so_once(tiny_run, tmp_path):
    dataset = shutil.copytree(tiny_run.out / "dataset", tmp_path / "dataset")
    command = f"{sys.executable} -m jobs.cli.main verify dataset={dataset} decode=false >/dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "verify failed: [Errno 28] No space left on device" in done.stderr


def test_the_reference_in_the_docs_is_that_of_the_configs():
    from jobs.cli.compose import experiments
    from jobs.cli.help import reference

    told = reference(experiments)
    assert (ROOT / "docs" / "reference.md").read_text() == told, "python -m jobs.cli.help > docs/reference.md"


def test_a_benchmark_that_is_not_known_is_told_the_near_miss():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "startu"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        1,
        "BENCH=startu: there is no such benchmark; did you mean 'startup'?\n",
    )
