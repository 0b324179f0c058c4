"""Models that a user names take part: a CLIP's scores and its second decision, DOVER's second look."""

import pytest

from pipelines.dataset.reader import open_dataset
from tests.conftest import run_job
from tests.support.footage import film, pan, write
from tests.support.tiny_models import tiny_clip, tiny_dover


@pytest.fixture(scope="module")
def options(tmp_path_factory, shared_ray):
    """A film of two shots, a tiny CLIP of open_clip's class, and a tiny network with DOVER's inputs."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "rushes").mkdir()
    write(folder / "rushes" / "a.mp4", film(pan(1, 60, 64, 96, right=2.0), pan(2, 60, 64, 96, right=-1.0)))
    return (
        f"footage={folder / 'rushes'}",
        f"scores.clip_model={tiny_clip(folder / 'clip')}",
        f"scores.dover={tiny_dover(folder / 'dover.onnx')}",
        "signals.native_every_s=0.5",
        f"ray.address={shared_ray.address}",
    )


def test_scores_of_named_models_are_measured_once_and_their_rules_decide(options, tmp_path):
    dataset = tmp_path / "dataset"
    run_job("curate", *options, f"dataset={dataset}")
    opened = open_dataset(str(dataset))
    rows = opened.index().table().to_pylist()
    assert len(rows) == 2
    for row in rows:
        assert row["status"] == "kept"
        assert -1 <= row["text_match"] <= 1
        assert 0 <= row["watermark"] <= 1
        assert row["technical"] is not None
        models = {entry["source"]: entry["model"] for entry in row["score_models"]}
        assert models["clip"].startswith("open_clip")
        assert models["dover"].startswith("DOVER")
        assert "scores.clip_aesthetic" in next(
            gap["why"] for gap in row["score_gaps"] if gap["score"] == "aesthetic"
        )
    embeddings = opened.looks().table()["clip_embedding"].to_pylist()
    assert all(abs(sum(x * x for x in embedding) - 1) < 0.01 for embedding in embeddings)

    low, high = sorted(row["text_match"] for row in rows)
    assert low < high
    with pytest.raises(
        ValueError, match=r"was curated with scores\.clip_model=.* scores\.dover=.*give it again"
    ):
        run_job("select", f"dataset={dataset}", options[-1])
    did = run_job(
        "select",
        f"dataset={dataset}",
        f"recipe.min.text_match={(low + high) / 2}",
        *options[1:3],
        options[-1],
    )
    assert (did["clips_captioned"], did["clips_cut"]) == (0, 0)
    after = {
        row["reject_reasons"][0] if row["reject_reasons"] else "kept": row
        for row in open_dataset(str(dataset)).index().table().to_pylist()
    }
    assert after.keys() == {"kept", "mismatched"}
    assert after["mismatched"]["text_match"] == low
    assert after["mismatched"]["caption_short"]


def test_what_another_clip_saw_is_not_compared_with_this_ones_texts(options, tmp_path):
    dataset, more = tmp_path / "dataset", tmp_path / "more"
    more.mkdir()
    write(more / "b.mp4", pan(3, 60, 64, 96, right=1.0))
    rest = [option for option in options if not option.startswith(("footage", "scores.dover"))]
    run_job("curate", *[options[0], *rest], f"dataset={dataset}")
    before = matches(dataset)
    other = [option for option in rest if not option.startswith("scores")]
    other.append(f"scores.clip_model={tiny_clip(tmp_path / 'clip', seed=1)}")
    run_job("curate", f"footage={more}", *other, f"dataset={dataset}")
    after = matches(dataset)
    assert before.items() < after.items()
    run_job("curate", options[0], *other, f"dataset={dataset}")
    assert not set(before.values()) & set(matches(dataset).values())


def matches(dataset):
    return {
        row["clip_id"]: row["text_match"] for row in open_dataset(str(dataset)).index().table().to_pylist()
    }


def test_a_model_that_is_not_there_is_said_before_anything_runs(options, tmp_path):
    given = [option for option in options if not option.startswith("scores.clip_model")]
    for key, message in (
        ("scores.clip_model=ViT-B-23", "did you mean 'ViT-B-32'"),
        ("scores.dover=none.onnx", "no such file"),
    ):
        with pytest.raises(ValueError, match=message):
            run_job("curate", *given, key, f"dataset={tmp_path / 'dataset'}")
    assert not (tmp_path / "dataset" / "stages").exists()
