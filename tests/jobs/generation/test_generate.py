"""Generation from a checkpoint: exactly the size asked for, the same video from the same seed, and the file
says how it was made."""

import hashlib
import json
import subprocess
import sys

import pytest

from jobs.cli.compose import compose
from jobs.cli.registry import JOBS
from pipelines.media.decode import probe_clip
from tests.conftest import run_job


@pytest.mark.parametrize(
    ("width", "height", "duration_s", "frames"), [(48, 32, 0.5, 4), (50, 36, 1.0, 8), (32, 32, 0, 1)]
)
def test_a_video_has_the_size_and_length_asked_for(tiny_run, tmp_path, width, height, duration_s, frames):
    out = tmp_path / "a.mp4"
    made = run_job(
        "generate", f"checkpoint={tiny_run.made('train')}", "prompt=a red square, moving", f"out={out}",
        f"width={width}", f"height={height}", f"duration_s={duration_s}", "fps=8", "steps=2",
    )  # fmt: skip
    assert made["num_frames"] == frames
    num_frames, _, *size, fps = probe_clip(out)
    assert (num_frames, size, fps) == (frames, [width, height], pytest.approx(8))
    assert json.loads(out.with_suffix(".json").read_text())["prompt"] == "a red square, moving"


def test_a_seed_decides(tiny_run, tmp_path):
    digests = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / f"{name}.mp4"
        run_job(
            "generate",
            f"checkpoint={tiny_run.made('train')}",
            "prompt=x",
            f"out={out}",
            f"seed={seed}",
            "width=32",
            "height=32",
            "duration_s=0.5",
            "steps=2",
        )
        digests.append(hashlib.sha256(out.read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_a_sweep_makes_a_video_of_the_very_prompt_for_each_value(tiny_run, tmp_path):
    prompt = 'a "red" kite, = {high} \\ ${HOME}, it\'s here'
    command = [
        "-m",
        f"checkpoint={tiny_run.made('train')}",
        f"prompt={prompt}",
        "seed=1,2",
        "out=my videos/v.mp4",
    ]
    command += ["width=32", "height=32", "duration_s=0", "steps=1"]
    subprocess.run(
        [sys.executable, "-m", "jobs.cli.main", "generate", *command], cwd=tmp_path, check=True, timeout=300
    )
    assert sorted(path.name for path in (tmp_path / "my videos").glob("*.mp4")) == [
        "v_seed=1.mp4",
        "v_seed=2.mp4",
    ]
    for seed in (1, 2):
        note = json.loads((tmp_path / "my videos" / f"v_seed={seed}.json").read_text())
        assert (note["prompt"], note["seed"]) == (prompt, seed)


def test_the_precision_is_said_and_kept_with_the_video(tiny_run, tmp_path, capsys):
    made = run_job("generate", f"checkpoint={tiny_run.made('train')}", "prompt=x",
        f"out={tmp_path / 'a.mp4'}", "steps=1",
                   "width=33", "height=31", "duration_s=0.5", "precision=fp32")  # fmt: skip
    assert "generate computes in fp32 (as asked)" in capsys.readouterr().out
    assert made["precision"] == json.loads((tmp_path / "a.json").read_text())["precision"] == "fp32"
    assert (made["width"], made["height"]) == (33, 31)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("out=s3://bucket/a.mp4", "this job writes to a path of this machine"),
        (
            "out={folder}/settings.mp4",
            r"settings.json would be written over, and it is no note of a generated video",
        ),
        ("gpu=true", "this machine has no GPU"),
        ("seed=18446744073709551616", "too large"),
    ],
)
def test_what_can_be_known_to_fail_is_refused_before_anything_is_written(
    tiny_run, tmp_path, override, message
):
    (tmp_path / "settings.json").write_text("{}")
    typed = [f"checkpoint={tiny_run.made('train')}", "prompt=x", f"out={tmp_path / 'a.mp4'}",
        override.format(folder=tmp_path)]  # fmt: skip
    with pytest.raises(ValueError, match=message):
        JOBS["generate"].module().check(compose(JOBS["generate"], typed).cfg)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]
