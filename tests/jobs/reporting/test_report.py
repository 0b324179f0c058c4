"""The report page: everything is on it, nothing is fetched, and nothing that it shows can do anything."""

import dataclasses
import html
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from jobs import curate, report
from jobs.cli.run_folder import open_run
from jobs.curation.config import CurateConfig
from jobs.reporting.config import ReportConfig
from pipelines.cutting.write_mp4 import write_mp4
from pipelines.dataset.manifest import publish
from pipelines.dataset.reader import open_dataset
from pipelines.dataset.schema import INDEX, table
from pipelines.media.decode import decode_frames
from pipelines.recipes.config import RecipeConfig
from pipelines.storage.parquet import parquet_bytes
from tests.jobs.reporting.browser import document, needs_browser
from tests.support.footage import film, pan, write, zoom

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
HOSTILE_FILE = "<script>document.title='owned'<script>.mp4"


def run_job(module, cfg):
    module.check(cfg)
    return module.run(cfg, open_run(module.__name__.split(".")[-1], module.run_folder(cfg), "job: test\n"))


@pytest.fixture(scope="module")
def dataset(shared_ray, tmp_path_factory) -> Path:
    """Three long shots and a short one in two videos, a stray note, a fake with a hostile name, a hostile
    caption."""
    folder = tmp_path_factory.mktemp("report") / "footage"
    folder.mkdir()
    write(folder / "two.mp4", film(pan(1, 32, 48, 64), zoom(2, 32, 48, 64), pan(5, 8, 48, 64)))
    write(folder / "tall.mp4", pan(3, 40, 64, 36, right=0.0, down=1.0))
    (folder / "notes.txt").write_text("a shot list\n")
    (folder / HOSTILE_FILE).write_text("not a video\n")
    cfg = CurateConfig(
        footage=str(folder),
        dataset=str(folder.parent / "dataset"),
        recipe=RecipeConfig(name="permissive", min={"duration_s": 1.0}, max={"luma_mean": 254.0}),
    )
    config = OmegaConf.to_yaml(OmegaConf.structured(cfg))
    curate.run(cfg, open_run("curate", curate.run_folder(cfg), config))
    _say_something_hostile(Path(cfg.dataset))
    return Path(cfg.dataset)


def _say_something_hostile(path: Path) -> None:
    """The next manifest, with one caption replaced: captioners repeat what they read in footage."""
    dataset = open_dataset(str(path))
    rows = dataset.index().table().to_pylist()
    next(row for row in rows if row["status"] == "kept").update(
        caption_short=HOSTILE, caption_dense=HOSTILE, source_text=HOSTILE, tag_subject=[HOSTILE]
    )
    _republish(path, rows)


def _republish(path: Path, rows: list[dict]) -> None:
    """The next manifest, with this index."""
    dataset = open_dataset(str(path))
    key = f"index/of_test_{dataset.number}.parquet"
    dataset.store.put_new(key, parquet_bytes(table(rows, INDEX)))
    publish(dataset.store, dataset.number, dataclasses.replace(dataset.manifest, index=(key,)))


@pytest.fixture(scope="module")
def page(dataset) -> str:
    out = run_job(report, ReportConfig(dataset=str(dataset), footage=str(dataset.parent / "footage")))["out"]
    assert Path(out) == dataset / "report.html"
    return Path(out).read_text()


@pytest.fixture(scope="module")
def workflow(dataset, tmp_path_factory) -> Path:
    """A workflow's folder: trainings that left curves, an evaluation that left videos (stretches of the
    clips)."""
    out = tmp_path_factory.mktemp("workflow")
    for name in ("vae", "dit", "videos", "workflow"):
        (out / name).mkdir()
    shutil.copytree(dataset, out / "dataset")
    lines = [{"step": s, "loss": 1 / (s + 1), "lr": 1e-3} for s in range(1, 9)]
    held = [
        {"step": s, "val_loss": v, "val_psnr_db": 20 + s, "val_loss_t0.5": v, "val_loss_64x48x5": v}
        for s, v in ((0, 2.0), (8, 0.5))
    ]
    for name in ("vae", "dit"):
        (out / name / "metrics.jsonl").write_text(
            "".join(json.dumps({"time_s": 0.0, **e}) + "\n" for e in lines + held)
        )
    kept = list(open_dataset(str(dataset)).kept())
    videos = []
    for number, row in enumerate(kept):
        # the first caption's video shows another clip
        shown = kept[(number + 1) % len(kept)] if number == 0 else row
        frames = decode_frames(
            open_dataset(str(dataset)).read(shown, "mp4"), [k / 12 for k in range(5)], 48, 64
        )
        write_mp4(out / "videos" / f"{number}.mp4", frames, 12.0)
        distances = {r["clip_id"]: 0.0 if r is shown else 0.25 for r in kept}
        videos.append(
            {
                "clip_id": row["clip_id"],
                "prompt": row["caption_short"],
                "seed": 7,
                "file": f"{number}.mp4",
                "nearest": shown["clip_id"],
                "distances": distances,
            }
        )
    found = {"retrieval_share": 2 / 3, "chance": 1 / 3, "clips": 3, "seeds": 1, "steps": 4, "videos": videos}
    (out / "videos" / "metrics.json").write_text(json.dumps(found))
    for job, folder in (
        ("curate", "dataset"),
        ("train_vae", "vae"),
        ("encode", "dataset"),
        ("train", "dit"),
        ("evaluate", "videos"),
    ):
        _record(out, job, folder)
    return out


def _record(out: Path, job: str, folder: str) -> None:
    (out / "workflow").mkdir(exist_ok=True)
    record = {"fingerprint": "", "digest": "", "path": str(out / folder), "result": {}, "seconds": 2.0}
    (out / "workflow" / f"{job}.json").write_text(json.dumps(record))


class Reader(HTMLParser):
    """Collects tags with attributes, and the visible text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def assert_self_contained(text: str) -> None:
    for tag, attributes in Reader(text).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form"), f"<{tag}> can fetch"
        for name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("data:image/jpeg;", "data:video/mp4;", "#")), (
                f"{tag} {name}={attributes.get(name)[:80]}"
            )
        assert "url(" not in (attributes.get("style") or "")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "http:" not in text
    assert "https:" not in text


def test_the_page_fetches_nothing_and_forbids_it(page, workflow):
    assert_self_contained(page)
    assert_self_contained(Path(run_job(report, ReportConfig(run=str(workflow)))["out"]).read_text())
    policy = next(
        a["content"]
        for tag, a in Reader(page).tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy
    assert re.search(r"script-src 'sha256-[^']+';", policy)


def test_every_kept_clip_is_there_with_its_captions_tags_and_place(page, dataset):
    text = "".join(Reader(page).text)
    kept = list(open_dataset(str(dataset)).kept())
    assert len(kept) == 3
    for row in kept:
        for said in (
            row["caption_short"],
            row["caption_dense"],
            row["bucket"],
            row["clip_id"],
            *row["tag_style"],
        ):
            assert said in text
    assert page.count('class="strip"') == 3


def test_rejected_clips_carry_their_reason_and_thresholds_are_marked(page):
    assert "too short" in page
    assert "≥ 1<" in page
    assert "≤ 254<" in page


def test_clips_around_each_cut_off_are_pictured_and_the_funnel_loses_what_is_lost(page):
    section = page[page.index('id="score-duration_s"') :]
    section = section[: section.index("</figure>")]
    nears = re.findall(r'class="near (\w+)" data-value="([\d.]+)"[^>]*><img src="data:image/jpeg', section)
    assert [status for status, _ in nears] == ["rejected", "kept", "kept", "kept"]
    assert [float(value) for _, value in nears] == sorted(float(value) for _, value in nears)
    funnel = page[page.index('class="funnel"') : page.index('<section id="decide">')]
    losses = re.findall(r"</i>([^<]+) <b>([^<]+)</b>", funnel)
    assert ("not media", "1") in losses
    assert ("too short", "1") in losses
    assert [what for what, _ in losses if what.startswith("quarantined: ")]


def test_hostile_captions_and_names_are_text(page):
    assert html.escape(HOSTILE, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    scripts = [a for tag, a in Reader(page).tags if tag == "script"]
    assert scripts == [{}], "there is one script, the page's own"
    assert not [a for _, a in Reader(page).tags if any(name.startswith("on") for name in a)]
    assert HOSTILE_FILE in "".join(Reader(page).text)


def test_the_account_is_the_ledger_and_balances(page, dataset):
    ledger = json.loads(next((dataset / "runs").glob("*/ledger.json")).read_text())
    sides = {(a, side): int(n) for side, a, n in re.findall(r'data-(in|out)="(\w+)">([\d,]+)<', page)}
    assert sides == {("sources", "in"): 4, ("sources", "out"): 4, ("clips", "in"): 4, ("clips", "out"): 4}
    assert sides["sources", "in"] == ledger["sources"]
    assert sides["clips", "in"] == ledger["clips"]
    assert page.count("✓ balances") == 2
    for name, key in (("ignored", "ignored"), ("rejected", "clips_rejected"), ("kept", "clips_kept")):
        assert re.search(rf'</i>{name} <span>[^<]*</span></th><td class="n">{ledger[key]}</td>', page)
    assert "not video" in page  # the message of the quarantined file


def test_many_clips_are_sampled_and_the_page_says_so(dataset, tmp_path):
    out = tmp_path / "small.html"
    run_job(report, ReportConfig(dataset=str(dataset), out=str(out), clips=1))
    assert out.read_text().count('class="strip"') == 1
    assert "1 of 3 kept clips are shown" in out.read_text()


def test_the_same_dataset_makes_the_same_page(page, dataset, tmp_path):
    footage = str(dataset.parent / "footage")
    run_job(report, ReportConfig(dataset=str(dataset), footage=footage, out=str(tmp_path / "again.html")))
    assert (tmp_path / "again.html").read_text() == page


def test_a_run_shows_its_trainings_and_each_video_beside_its_nearest_clip(workflow):
    text = Path(run_job(report, ReportConfig(run=str(workflow)))["out"]).read_text()
    assert (workflow / "report.html").read_text() == text
    assert "28.0 dB" in text
    assert "2 → 0.5" in text
    assert "67%" in text
    for title in ("Held-out PSNR, dB", "Held-out loss by time", "Held-out loss by shape", "64 × 48 × 5"):
        assert title in text
    takes = text[text.index('<section id="videos">') :]
    assert (takes.count("✓ seed 7"), takes.count("✗ seed 7")) == (2, 1)
    # a clip and a video for each caption, and the clip that the wrong one is nearer to
    assert takes.count("<video ") == 3 + 3 + 1


def test_what_was_not_made_is_absent(dataset, tmp_path, page):
    shutil.copytree(dataset, tmp_path / "dataset")
    _record(tmp_path, "curate", "dataset")
    text = Path(run_job(report, ReportConfig(run=str(tmp_path)))["out"]).read_text()
    assert 'id="clips"' in text
    for missing in ('id="training"', 'id="videos"', "VAE PSNR", "retrieval"):
        assert missing not in text
        assert missing not in page


@pytest.mark.parametrize("statuses", [("kept",), ("rejected",), ()])
def test_a_dataset_without_clips_of_a_kind_or_any_has_a_page(dataset, tmp_path, statuses):
    copied = shutil.copytree(dataset, tmp_path / "dataset")
    rows = [row for row in open_dataset(str(copied)).index().table().to_pylist() if row["status"] in statuses]
    _republish(copied, rows)
    text = Path(run_job(report, ReportConfig(dataset=str(copied)))["out"]).read_text()
    assert_self_contained(text)
    assert set(re.findall(r'<article[^>]* id="clip-(\w+)"', text)) == {row["clip_id"] for row in rows}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "neither is given"),
        ({"dataset": "a", "run": "b"}, "both are given"),
        ({"dataset": "nowhere"}, "no dataset is there"),
        ({"run": "nowhere"}, "no such folder"),
    ],
)
def test_wrong_usage_is_said_before_anything_runs(keys, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        report.check(ReportConfig(**keys))


def test_dataset_and_run_are_told_apart(dataset, workflow):
    with pytest.raises(FileNotFoundError, match=f"give dataset={dataset}"):
        report.check(ReportConfig(run=str(dataset)))
    with pytest.raises(FileNotFoundError, match=f"give run={workflow}"):
        report.check(ReportConfig(dataset=str(workflow)))
    with pytest.raises(ValueError, match="is a folder"):
        report.check(ReportConfig(dataset=str(dataset), out=str(dataset)))


@needs_browser
def test_in_a_browser_only_the_pages_own_script_runs(page, tmp_path):
    # even where something slips through unescaped, the policy stops it
    leaky = page.replace("<main", f"{HOSTILE}<main", 1)
    assert leaky != page
    dom = document(leaky, tmp_path)
    title = re.search(r"<title>(.*?)</title>", dom)[1]
    assert title.endswith("Rushes report"), title
    cards = [a for tag, a in Reader(dom).tags if tag == "article" and a.get("class") == "card"]
    assert len(cards) == 3
    verdict = next(a for tag, a in Reader(dom).tags if a.get("class") == "verdict")
    assert (verdict["data-clips"], "hidden" in verdict) == ("3", False)  # the page's own script ran


def test_nothing_is_opened_that_only_the_dataset_names(dataset, page, tmp_path, monkeypatch):
    """Without footage= nothing outside of the dataset; with it what lies there, wherever else the rows
    point."""
    from pipelines.storage import s3

    copied = shutil.copytree(dataset, tmp_path / "dataset")
    footage, asked = str(dataset.parent / "footage"), []
    monkeypatch.setattr(s3, "client", lambda: asked.append("S3") or pytest.fail("S3 was asked"))
    opened = opened_files(monkeypatch)
    bare = Path(run_job(report, ReportConfig(dataset=str(copied)))["out"]).read_text()
    assert "rejected clips are shown from their footage: give it with footage=" in bare
    assert "rejected clips are shown from" not in page
    assert not opened
    run_job(report, ReportConfig(dataset=str(copied), footage=footage))
    assert {Path(name).parent for name in opened} == {Path(footage)}

    opened.clear()
    rows = open_dataset(str(copied)).index().table().to_pylist()
    elsewhere = [
        str(tmp_path / "pipe.mp4"),
        "s3://someone/secret.mp4",
        f"{footage}/../secret.mp4",
        f"{footage}2/a.mp4",
    ]
    os.mkfifo(elsewhere[0])
    for k, row in enumerate(row for row in rows if row["status"] == "rejected"):
        row["source_uri"] = elsewhere[k % len(elsewhere)]
    for uri in elsewhere:
        _republish(
            copied, [row | {"source_uri": uri} if row["status"] == "rejected" else row for row in rows]
        )
        text = Path(run_job(report, ReportConfig(dataset=str(copied), footage=footage))["out"]).read_text()
        assert "the footage is not at hand, or not what was given" in text
    assert not opened
    assert not asked


def opened_files(monkeypatch) -> list[str]:
    """Sources that a job takes up, in whatever process: filled as it goes."""
    from jobs.reporting.drawing import pictures

    opened, plain = [], pictures.source_file

    def noted(uri, *args, **how):
        opened.append(uri)
        return plain(uri, *args, **how)

    monkeypatch.setattr(pictures, "source_file", noted)
    return opened
