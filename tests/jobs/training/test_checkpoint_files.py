"""States on disk: durable before older ones go, passed over if they can't be read, and nothing else is ever
touched."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.training import checkpoint
from jobs.training.checkpoint_files import (
    BadStateError,
    all_states,
    damaged,
    find_corruption,
    latest_checkpoint,
)
from model.checkpoint.shards import write_tensors
from tests.support.disk import REMOVED, check_durable, record_events

FILES = ("state.safetensors", "state.json")


class SmallEngine:
    """What `checkpoint` asks of an engine."""

    adam_step = 3

    def state(self):
        yield "weight", torch.arange(64.0)


@pytest.fixture(scope="module")
def alone():
    """A process group of one."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def write_state(out: Path, step: int, name: str = "") -> Path:
    state = out / "checkpoints" / (name or f"step_{step:08d}")
    state.mkdir(parents=True)
    write_tensors(state / FILES[0], {"weight": torch.zeros(64)})
    (state / FILES[1]).write_text(json.dumps({"step": step, "adam_step": step}))
    return state


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def test_a_state_is_on_the_disk_before_it_has_its_name_and_before_older_ones_go(alone, tmp_path):
    for step in (10, 20, 30):
        write_state(tmp_path, step)
    with record_events() as events:
        checkpoint.save(SmallEngine(), tmp_path, 40, {}, keep=2)
    done = check_durable(events, tmp_path / "checkpoints" / "step_00000040", held=FILES)
    gone = [i for i, event in enumerate(events) if event[0] == REMOVED]
    assert [Path(events[i][1]).name for i in gone] == ["step_00000010", "step_00000020"]
    assert min(gone) > done


STRANGERS = (
    "step_00000002_backup", "step_x", "step_2", "step_00000099 (copy)", "._step_00000099", ".DS_Store",
    "step_0000000009",
    "step_00000099.tmp", "STEP_00000099", "step_\N{ARABIC-INDIC DIGIT NINE}0000099", "notes", "best",
)  # fmt: skip


@given(
    names=st.sets(st.sampled_from(STRANGERS)),
    steps=st.sets(st.integers(0, 60), min_size=1, max_size=5),
    keep=st.integers(1, 3),
)
@settings(deadline=None, max_examples=40)
def test_only_states_go_and_the_newest_stay(alone, tmp_path_factory, names, steps, keep):
    out = tmp_path_factory.mktemp("run")
    for name in names:
        write_state(out, 2, name)
    for step in steps:
        write_state(out, step)
    before = snapshot(out / "checkpoints")
    checkpoint.save(SmallEngine(), out, 100, {}, keep)
    after = snapshot(out / "checkpoints")
    kept = sorted(steps | {100})[-keep:]
    assert [path.name for path in all_states(out)] == [f"step_{step:08d}" for step in kept]
    mine = {path: data for path, data in before.items() if path.split("/")[0] in names}
    assert mine.items() <= after.items()
    assert latest_checkpoint(out).name == "step_00000100"


def test_a_state_that_a_person_has_put_something_into_or_a_link_stays(alone, tmp_path, caplog):
    away = write_state(tmp_path / "away", 10)
    for step in (20, 30):
        write_state(tmp_path, step)
    (tmp_path / "checkpoints" / "step_00000010").symlink_to(away)
    (tmp_path / "checkpoints" / "step_00000020" / "notes.txt").write_text("the best so far")
    left = tmp_path / "checkpoints" / ".step_00000025.partial"
    left.mkdir()
    (left / FILES[0]).write_bytes(b"half")
    before = snapshot(tmp_path / "away")
    with caplog.at_level(logging.WARNING):
        checkpoint.save(SmallEngine(), tmp_path, 40, {}, keep=1)
    there = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert there == ["step_00000010", "step_00000020", "step_00000040"]
    assert snapshot(tmp_path / "away") == before
    assert "step_00000020 stays: something in it is not a state's" in caplog.text


def test_what_is_in_the_way_of_a_state_is_put_aside(alone, tmp_path):
    state = tmp_path / "checkpoints" / "step_00000040"
    state.mkdir(parents=True)
    (state / "notes.txt").write_text("mine")
    (tmp_path / "checkpoints" / ".step_00000040.partial").symlink_to(tmp_path / "nowhere")
    assert checkpoint.save(SmallEngine(), tmp_path, 40, {}, keep=1) == state
    assert find_corruption(state) is None
    (aside,) = (tmp_path / "checkpoints").glob("step_00000040.aside-*")
    assert (aside / "notes.txt").read_text() == "mine"


def test_a_damaged_state_does_not_count_among_those_that_are_kept(alone, tmp_path):
    for step in (10, 20):
        write_state(tmp_path, step)
    (tmp_path / "checkpoints" / "step_00000020" / FILES[1]).write_bytes(b"")
    checkpoint.save(SmallEngine(), tmp_path, 30, {}, keep=2)
    assert [path.name for path in all_states(tmp_path)] == ["step_00000010", "step_00000020", "step_00000030"]
    checkpoint.save(SmallEngine(), tmp_path, 40, {}, keep=2)
    assert [path.name for path in all_states(tmp_path)] == ["step_00000030", "step_00000040"]


def zero(path):
    path.write_bytes(b"\0" * path.stat().st_size)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


DAMAGE = {
    "no tensors": lambda state: (state / FILES[0]).unlink(),
    "no facts": lambda state: (state / FILES[1]).unlink(),
    "empty folder": lambda state: [(state / name).unlink() for name in FILES],
    "tensors of zeros": lambda state: zero(state / FILES[0]),
    "facts of zeros": lambda state: zero(state / FILES[1]),
    "cut tensors": lambda state: cut(state / FILES[0]),
    "cut facts": lambda state: cut(state / FILES[1]),
    "empty tensors": lambda state: (state / FILES[0]).write_bytes(b""),
    "facts that are a list": lambda state: (state / FILES[1]).write_text("[1]"),
    "facts that are nested": lambda state: (state / FILES[1]).write_text("[" * 100_000),
    "facts in no text": lambda state: (state / FILES[1]).write_bytes(b"\xff\xfe"),
    "facts of another step": lambda state: (state / FILES[1]).write_text('{"step": 10, "adam_step": 1}'),
    "no number": lambda state: (state / FILES[1]).write_text('{"step": true, "adam_step": "1"}'),
    "tensors in a folder": lambda state: [(state / FILES[0]).unlink(), (state / FILES[0]).mkdir()],
}  # fmt: skip


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_newest_state_that_cannot_be_read_is_passed_over_with_a_word(tmp_path, harm):
    write_state(tmp_path, 10)
    harm(write_state(tmp_path, 20))
    assert latest_checkpoint(tmp_path).name == "step_00000010"
    ((state, why),) = damaged(tmp_path)
    assert state.name == "step_00000020"
    assert why
    assert "\n" not in why


def test_a_file_in_place_of_a_state_is_passed_over(tmp_path):
    write_state(tmp_path, 10)
    (tmp_path / "checkpoints" / "step_00000020").write_text("")
    assert latest_checkpoint(tmp_path).name == "step_00000010"


READ = (
    "import sys; from pathlib import Path; "
    "from jobs.training.checkpoint_files import latest_checkpoint, damaged; "
    "out = Path(sys.argv[1]); print(latest_checkpoint(out).name, damaged(out))"
)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody who may not read")
def test_a_state_without_permission_is_passed_over(tmp_path):
    write_state(tmp_path, 10)
    (write_state(tmp_path, 20) / FILES[1]).chmod(0)
    write_state(tmp_path, 30).chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    read = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", READ,
            str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert read.stdout.startswith("step_00000010"), read.stderr
    assert read.stdout.count("Permission denied") == 2


def test_if_none_can_be_read_each_is_left_where_it_is(tmp_path):
    state = write_state(tmp_path, 10)
    zero(state / FILES[0])
    before = snapshot(tmp_path)
    with pytest.raises(BadStateError, match="step_00000010"):
        latest_checkpoint(tmp_path)
    assert snapshot(tmp_path) == before
