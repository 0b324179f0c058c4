"""Weights that come inside packages are read only if they are the ones that are pinned."""

import importlib.util
import pickle
import sys
from pathlib import Path

import pytest

from pipelines import weights
from pipelines.measure.config import SignalConfig
from pipelines.measure.measure import Measurements, preload
from pipelines.scores import nsfw, text
from pipelines.scores.config import ScoreConfig
from pipelines.shots import transnet
from pipelines.shots.config import ShotConfig
from pipelines.vision import imagenet
from pipelines.weights import Pinned, WeightsError

ALL = (imagenet._WEIGHTS, transnet._WEIGHTS, nsfw._WEIGHTS, text._SETTINGS, *text._WEIGHTS.values())


@pytest.fixture
def unchecked(monkeypatch):
    """A process that has looked at nothing yet."""
    weights._checked.cache_clear()
    transnet.load.cache_clear()
    yield monkeypatch
    weights._checked.cache_clear()
    transnet.load.cache_clear()


def stands_in_for(pinned: Pinned, folder: Path, monkeypatch, change) -> Path:
    """The package as it is, but for one file, in a folder that Python looks at first."""
    real = Path(importlib.util.find_spec(pinned.module).origin).parent
    for path in real.rglob("*"):
        other = folder / pinned.module / path.relative_to(real)
        if path.is_file() and path.suffix != ".pyc":
            other.parent.mkdir(parents=True, exist_ok=True)
            other.symlink_to(path)
    changed = folder / pinned.module / pinned.file
    changed.unlink()
    change(changed, (real / pinned.file).read_bytes())
    monkeypatch.syspath_prepend(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == pinned.module]:
        monkeypatch.delitem(sys.modules, name)
    return changed


def flip(path: Path, data: bytes) -> None:
    """One bit, in the middle."""
    at = len(data) // 2
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


class Runs:
    """Makes a file when it is read from a pickle."""

    def __init__(self, ran: Path):
        self._ran = ran

    def __reduce__(self):
        return Path.touch, (self._ran,)


@pytest.mark.parametrize("pinned", ALL, ids=lambda pinned: Path(pinned.file).name)
def test_what_is_installed_is_what_is_pinned_and_a_flipped_bit_is_refused(pinned, unchecked, tmp_path):
    assert pinned.path().is_file()
    weights._checked.cache_clear()
    changed = stands_in_for(pinned, tmp_path, unchecked, flip)
    with pytest.raises(WeightsError) as raised:
        pinned.path()
    message = str(raised.value)
    assert "\n" not in message
    for part in (str(changed), pinned.package, pinned.sha256, weights.sha256_file(changed), "make setup"):
        assert part in message


def test_a_file_that_is_gone_is_told(unchecked, tmp_path):
    stands_in_for(transnet._WEIGHTS, tmp_path, unchecked, lambda path, data: None)
    with pytest.raises(WeightsError, match="there is no such file"):
        transnet._WEIGHTS.path()


def test_nothing_of_other_weights_is_read(unchecked, tmp_path):
    """Whatever loads them refuses: a pickle would run code before anybody could look at what it holds."""
    ran = tmp_path / "ran"
    runs = pickle.dumps(Runs(ran))
    stands_in_for(transnet._WEIGHTS, tmp_path / "a", unchecked, lambda path, data: path.write_bytes(runs))
    stands_in_for(imagenet._WEIGHTS, tmp_path / "b", unchecked, lambda path, data: path.write_bytes(runs))
    stands_in_for(nsfw._WEIGHTS, tmp_path / "c", unchecked, flip)
    for load in (
        lambda: transnet.load("fp32"),
        lambda: transnet.weights_id(),
        lambda: imagenet.network(),
        lambda: imagenet.weights_hash(),
        lambda: nsfw.classifier(),
        lambda: nsfw.check(ScoreConfig(nsfw=True)),
        preload(Measurements(SignalConfig(), ShotConfig(), ScoreConfig(), ("signals",), "fp32")),
    ):
        with pytest.raises(WeightsError):
            load()
    assert not ran.exists()


def test_files_are_read_through_once_per_process(unchecked):
    read = []
    unchecked.setattr(
        weights, "sha256_file", lambda path, real=weights.sha256_file: read.append(path) or real(path)
    )
    for _ in range(3):
        imagenet._WEIGHTS.path()
    assert len(read) == 1
