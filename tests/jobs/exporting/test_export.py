"""`rushes export` writes files that show a clip and nothing else, over nothing that is there."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from jobs.cli.main import DONE, FAILED, WRONG_USAGE, main
from jobs.exporting.file_names import file_name
from pipelines.dataset.reader import open_dataset
from tests.conftest import run_job
from tests.jobs.cli.test_main import heavy_modules_after


def export(dataset, out, *asked):
    return run_job("export", f"dataset={dataset}", f"out={out}", *asked)


def coded(path: Path) -> tuple[list[Fraction], list[np.ndarray]]:
    """Times and pixels of all frames in a file, hidden or not."""
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        frames = list(container.decode(video=0))
    return [(f.pts - frames[0].pts) * f.time_base for f in frames], [
        f.to_ndarray(format="gray") for f in frames
    ]


def source_frames(row) -> list[np.ndarray]:
    """What the footage shows during a clip."""
    span = range(row["start_pts"], row["end_pts"])
    with av.open(row["source_uri"]) as container:
        return [f.to_ndarray(format="gray") for f in container.decode(video=0) if f.pts in span]


def rows_of(dataset, status):
    return [row for row in open_dataset(str(dataset)).index().table().to_pylist() if row["status"] == status]


def test_a_folder_gets_a_file_of_each_kept_clip_that_shows_its_frames_alone(mixed, tmp_path, capsys):
    kept = rows_of(mixed, "kept")
    assert any(row["lead_frames"] for row in kept)
    done = export(mixed, tmp_path / "made" / "clips")
    names = sorted(path.name for path in (tmp_path / "made" / "clips").iterdir())
    assert names == sorted(file_name(row, 8) for row in kept)
    assert done["encoded"] < len(kept) == len(done["files"])
    for row in kept:
        path = tmp_path / "made" / "clips" / file_name(row, 8)
        times, pictures = coded(path)
        start, tick = row["start_pts"], Fraction(row["time_base"])
        assert len(times) == row["num_frames"]
        assert times[-1] < (row["end_pts"] - start) * tick == times[1] * row["num_frames"]
        for got, wanted in zip(pictures, source_frames(row), strict=True):
            assert np.abs(got.astype(int) - wanted).mean() < 2
        if not row["lead_frames"] and path.read_bytes() != open_dataset(str(mixed)).read(row):
            assert row["source_uri"].endswith("walk.mp4"), "only where something is hidden behind it"
    said = capsys.readouterr().out
    assert f"{len(kept)} files in {tmp_path / 'made' / 'clips'}: " in said
    assert "2 rejected clips left out" in said


def test_one_clip_is_meant_by_a_name_and_a_time_and_gets_the_name_that_is_asked_for(mixed, tmp_path, capsys):
    out = tmp_path / "new folder" / "a.mp4"
    done = export(mixed, out, "source=footage/walk.mp4", "at_s=1.5")
    assert done["files"] == [str(out)]
    assert len(coded(out)[0]) == 30
    said = capsys.readouterr().out
    assert "of walk.mp4, 1.20–2.40 s: 30 frames, 64×48, " in said
    assert "encoded anew (" in said
    assert [path.name for path in out.parent.iterdir()] == ["a.mp4"]


def test_no_file_is_written_over_unless_asked_for(mixed, tmp_path, capsys):
    out = tmp_path / "a.mp4"
    out.write_bytes(b"my own")
    asked = ["export", f"dataset={mixed}", "source=harbour*", f"out={out}"]
    assert main(asked) == WRONG_USAGE
    assert f"out={out} is there already; give another name, or replace=true" in capsys.readouterr().err
    assert out.read_bytes() == b"my own"
    assert main([*asked, "replace=true"]) == DONE
    (row,) = (row for row in rows_of(mixed, "kept") if "harbour" in row["source_uri"])
    assert out.read_bytes() == open_dataset(str(mixed)).read(row)


def test_the_same_command_goes_on_with_what_is_missing(mixed, tmp_path, capsys):
    export(mixed, tmp_path)
    paths = sorted(tmp_path.iterdir())
    before = {path: path.read_bytes() for path in paths}
    paths[0].unlink()
    paths[1].write_bytes(b"my own")
    done = export(mixed, tmp_path)
    assert done["files"] == [str(paths[0])]
    assert paths[0].read_bytes() == before[paths[0]]
    assert paths[1].read_bytes() == b"my own"
    assert f"{len(paths) - 1} files in {tmp_path} were there already and stay" in capsys.readouterr().out
    export(mixed, tmp_path, "replace=true")
    assert {path: path.read_bytes() for path in paths} == before


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            ["source=static.mp4", "out={folder}/a.mp4"],
            "was rejected (static), and rejected clips have no file; it gets one if it is kept: rushes "
            "select dataset=",
        ),
        (["source=march/walk.mp4", "at_s=1.3", "out={folder}/a.mp4"], "recipe.min.duration_s=0.32"),
        (["source=broken.mp4", "out={folder}/a.mp4"], "broken.mp4 is in quarantine: probe: truncated"),
        (["out={folder}/a.mp4"], " clips are meant; give clip="),
        (["out={folder}/a.avi"], "clips are mp4; end it in .mp4 for one file, or in / for a folder"),
        (["clip=xyz", "out={folder}/"], "clip=xyz: no clip that is meant has an id that begins so"),
        (["at_s=1", "out={folder}/"], "at_s is a time in a source"),
        (["out={dataset}"], "is the folder of a dataset, whose files would be written over"),
        (["out=s3://bucket/a.mp4"], "this job writes to a path of this machine"),
        (["source=walkk.mp4", "out={folder}/"], "did you mean 'walk.mp4'?"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(mixed, tmp_path, asked, said, capsys):
    filled = [word.format(folder=tmp_path / "new", dataset=mixed) for word in asked]
    assert main(["export", f"dataset={mixed}", *filled]) == WRONG_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "new").exists()


def test_what_is_said_to_keep_a_clip_is_a_command_that_select_takes(mixed, tmp_path, capsys):
    main(["export", f"dataset={mixed}", "source=static.mp4", f"out={tmp_path}/a.mp4"])
    command = capsys.readouterr().err.partition("it is kept: rushes ")[2].split()
    assert command[0] == "select"
    assert main([*command, "--cfg", "job"]) == DONE


def test_a_damaged_clip_is_named_and_the_others_are_written(mixed, tmp_path, capsys):
    dataset = Path(shutil.copytree(mixed, tmp_path / "dataset"))
    row = next(row for row in rows_of(dataset, "kept") if "harbour" in row["source_uri"])
    shard = dataset / "shards" / row["bucket"] / f"{row['shard']}.tar"
    data = bytearray(shard.read_bytes())
    middle = row["offset"] + row["size"] // 2
    data[middle : middle + 400] = bytes(400)
    shard.write_bytes(data)
    assert main(["export", f"dataset={dataset}", f"out={tmp_path / 'clips'}"]) == FAILED
    said = capsys.readouterr().err
    num_kept = len(rows_of(dataset, "kept"))
    assert f"export failed: 1 of {num_kept} clips could not be exported: {file_name(row, 8)}: " in said
    assert len(list((tmp_path / "clips").iterdir())) == num_kept - 1


def test_names_of_files_tell_footage_moment_and_clip():
    row = {
        "source_uri": "s3://bucket/a/Tag 1: Straße/ö?*.x.mov",
        "start_s": 3723.456,
        "clip_id": "0123456789abcdef",
    }
    assert file_name(row, 8) == "ö__.x_1h02m03.46s_01234567.mp4"
    assert file_name(row | {"source_uri": "/a/" + "長" * 200 + ".mp4"}, 9).startswith("長" * 40 + "_1h")
    assert file_name(row | {"source_uri": "/a/...", "start_s": -0.5}, 8) == "clip_-0m00.50s_01234567.mp4"


def test_exporting_starts_neither_ray_nor_any_network(mixed, tmp_path):
    imported, _ = heavy_modules_after(
        "export", f"dataset={mixed}", "source=harbour*", f"out={tmp_path}/a.mp4"
    )
    assert not {"torch", "ray", "transformers", "deepspeed"} & set(imported)
