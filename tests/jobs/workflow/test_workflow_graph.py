"""What the workflow's nodes made is told by their own files: what a desktop or a copy has put beside them
changes nothing."""

from jobs.cli.run_records import read_record, write_record
from jobs.workflow.config import RunConfig
from jobs.workflow.graph import nodes
from tests.support.disk import check_durable, record_events

STRANGERS = ("._000001.json", "000002 (copy).json", ".DS_Store", "000001.json.bak")


def digests(folder):
    made = {node.job: node for node in nodes(RunConfig(footage="f", out=str(folder)))}
    return (
        made["curate"].digest(str(folder), {}),
        made["encode"].digest(str(folder), {"latents": "f0"}),
        made["evaluate"].digest(str(folder), {}),
    )


def test_what_is_not_ours_makes_nothing_out_of_date(tmp_path):
    for name in ("manifests", "latents/f0/manifests"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "000001.json").write_text(name)
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "a_0.mp4").write_bytes(b"video")
    before = digests(tmp_path)
    for name in STRANGERS:
        (tmp_path / "manifests" / name).write_text("not ours")
        (tmp_path / "latents/f0/manifests" / name).write_text("not ours")
    (tmp_path / "._a_0.mp4").write_bytes(b"not ours")
    assert digests(tmp_path) == before
    (tmp_path / "manifests" / "000002.json").write_text("new")
    assert digests(tmp_path) != before


def test_a_nodes_record_is_on_the_disk_before_it_has_its_name(tmp_path):
    record = {"fingerprint": "f", "digest": "d", "path": "p", "result": {}, "seconds": 1.0}
    with record_events() as events:
        write_record(tmp_path, "train", record)
    check_durable(events, tmp_path / "workflow" / "train.json")
    assert read_record(tmp_path, "train") == {**record, "path": str(tmp_path / "p")}
