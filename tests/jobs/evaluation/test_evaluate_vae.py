"""A VAE on what it never saw: the figures are the training's own, per shape, and the page shows every
shape."""

import json
import shutil
from collections import Counter

import pytest

from jobs.cli.run_folder import Run
from tests.conftest import TinyRun, run_job


def evaluated(tiny_run: TinyRun, out, *overrides: str):
    """In the numbers that training's own figures are in."""
    return run_job(
        "evaluate_vae", f"dataset={tiny_run.made('curate')}", f"out={out}", "precision=fp32", *overrides
    )


def windows_of(result) -> Counter:
    return Counter({(s["num_frames"], s["height"], s["width"]): s["windows"] for s in result["shapes"]})


def weights(tiny_run: TinyRun) -> str:
    return f"checkpoint={tiny_run.made('train_vae') / 'export' / 'vae'}"


@pytest.fixture(scope="module")
def whole(tiny_run, tmp_path_factory):
    """The tiny VAE evaluated with its training's own settings, which hold out single frames."""
    return evaluated(tiny_run, tmp_path_factory.mktemp("whole"), f"checkpoint={tiny_run.made('train_vae')}")


@pytest.fixture(scope="module")
def moving(tiny_run, tmp_path_factory):
    """Its bare weights at the clips' own sizes, half of each clip held out: where it went, and what it
    returned."""
    out = tmp_path_factory.mktemp("moving")
    shapes = ["shapes.max_pixels=3072", "shapes.fps=8", "shapes.max_frames=5", "windows.holdout_share=0.5"]
    return out, evaluated(tiny_run, out, weights(tiny_run), *shapes)


def test_psnr_is_the_one_that_training_measured_last(tiny_run, whole):
    trained = json.loads((tiny_run.made("train_vae") / "metrics.json").read_text())
    assert whole["overall"]["psnr_db"] == pytest.approx(trained["val_psnr_db_last"], abs=1e-3)


def test_bare_weights_are_measured_at_the_shapes_that_the_command_names(tiny_run, whole, tmp_path):
    same = ["shapes.max_pixels=2304", "shapes.fps=8", "shapes.max_frames=5", "windows.holdout_min_frames=1"]
    assert evaluated(tiny_run, tmp_path, weights(tiny_run), *same, "windows.stride_s=0.5") == whole


def test_every_shape_has_its_figures_and_all_of_them_make_the_whole(moving):
    out, result = moving
    assert json.loads((out / "metrics.json").read_text()) == result
    shapes, overall = result["shapes"], result["overall"]
    assert set(windows_of(result)) == {(5, 48, 64), (5, 64, 48)}
    assert sum(s["windows"] for s in shapes) == overall["windows"]
    assert sum(s["clips"] for s in shapes) == overall["clips"] == 3
    for name in ("psnr_db", "ssim", "perceptual"):
        mean = sum(s[name] * s["windows"] for s in shapes) / overall["windows"]
        assert overall[name] == pytest.approx(mean)
    assert all(-1 <= s["ssim"] <= 1 and 0 < s["perceptual"] < 16 for s in shapes)
    assert overall["flicker"] > 0, "six steps of training leave the frames of a latent unlike each other"


def test_the_page_shows_clips_of_every_shape(moving):
    page = (moving[0] / "index.html").read_text()
    for name in ("5 × 48 × 64", "5 × 64 × 48"):
        assert page.count(name) == 2, "in the table and above its clips"
    assert page.count("<article") == page.count("<video src=") == 3
    assert page.count("<img") == 9, "the first, the middle and the last frame of each"


def test_single_frames_have_no_motion_and_no_video(whole, tiny_run, tmp_path):
    assert {shape[0] for shape in windows_of(whole)} == {1}
    assert whole["overall"]["flicker"] is whole["overall"]["motion_sharpness"] is None
    assert whole["overall"]["windows_with"] == {"flicker": 0, "motion_sharpness": 0}
    few = evaluated(tiny_run, tmp_path, f"checkpoint={tiny_run.made('train_vae')}", "clips=2", "shown=1")
    assert few["overall"]["clips"] == 2
    page = (tmp_path / "index.html").read_text()
    assert (page.count("<article"), page.count("<img"), page.count("<video src=")) == (1, 1, 0)


def test_one_line_says_how_good_it_is(tiny_run, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(Run, "say", lambda self, text: said.append(text))
    evaluated(tiny_run, tmp_path, f"checkpoint={tiny_run.made('train_vae')}", "clips=1", "shown=1")
    assert said.pop(0) == "evaluate_vae computes in fp32 (as asked)"
    assert len(said) == 1
    for part in ("PSNR", "dB", "SSIM", "perceptual distance", "flicker", "motion sharpness", "index.html"):
        assert part in said[0]


def test_what_a_user_gets_wrong_is_told_before_anything_is_written(tiny_run, tmp_path):
    vae, out = f"checkpoint={tiny_run.made('train_vae')}", tmp_path / "out"
    for overrides, said in (
        ([f"checkpoint={tmp_path}"], "checkpoint=.* holds no VAE; give the out= of rushes train_vae"),
        (
            [vae, "windows.holdout_share=0.5"],
            r"windows\.holdout_share=0\.5 is not what this VAE was trained with \(0\.2\)",
        ),
        ([f"{vae}/export/vae", "windows.holdout_share=0"], "holds out nothing"),
        ([vae, "perceptual=efficientnt"], "did you mean 'efficientnet'"),
        ([vae, "perceptual_weights=x"], "brings its weights along"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            evaluated(tiny_run, out, *overrides)
    assert not out.exists()


def test_training_settings_that_lack_a_newer_key_are_read(tiny_run, whole, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(tiny_run.made("train_vae") / "export", old / "export")
    settings = json.loads((tiny_run.made("train_vae") / "settings.json").read_text())
    del settings["windows"]["stride_s"]
    (old / "settings.json").write_text(
        json.dumps({"shapes": settings["shapes"], "windows": settings["windows"]})
    )
    assert windows_of(evaluated(tiny_run, tmp_path / "out", f"checkpoint={old}")) == windows_of(whole)


def test_it_writes_over_no_training(tiny_run, tmp_path):
    vae = tiny_run.made("train_vae")
    before = (vae / "metrics.json").read_bytes()
    with pytest.raises(
        ValueError, match=r"is the folder of a training, whose files would be written over; give another"
    ):
        evaluated(tiny_run, vae, f"checkpoint={vae}")
    with pytest.raises(ValueError, match=r"is the folder of a dataset"):
        evaluated(tiny_run, tiny_run.made("curate"), f"checkpoint={vae}")
    assert (vae / "metrics.json").read_bytes() == before


def test_clips_that_can_not_be_read_are_left_out_and_named(tiny_run, tmp_path, capsys):
    shutil.copytree(
        tiny_run.made("curate"), tmp_path / "dataset", ignore=shutil.ignore_patterns("latents", "runs")
    )
    shard = next((tmp_path / "dataset" / "shards").glob("*/*.tar"))
    shard.unlink()
    overrides = ["precision=fp32", f"checkpoint={tiny_run.made('train_vae')}"]
    result = run_job("evaluate_vae", f"dataset={tmp_path / 'dataset'}", f"out={tmp_path / 'out'}", *overrides)
    assert result["clips_unread"] > 0
    assert result["overall"]["clips"] + result["clips_unread"] == 3
    assert f"in shards/{shard.parent.name}/{shard.name}: " in capsys.readouterr().out
