"""Compiled code comes from a folder that nobody else can put code into."""

import os
from pathlib import Path

import pytest
import torch

from model.dit.compile_cache import use_private_compile_cache

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    yield
    os.environ.pop(VARIABLE, None)


def link(folder):
    folder.symlink_to("/")


def writable(folder):
    folder.mkdir()
    folder.chmod(0o777)


def of_another(folder):
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)


def test_the_folder_is_private_and_stays_the_same(tmp_path):
    folder = use_private_compile_cache()
    del os.environ[VARIABLE]
    assert use_private_compile_cache() == folder == tmp_path / f"rushes-compiled-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    assert cache_dir() == str(folder)


@pytest.mark.parametrize("made", [link, writable, of_another, lambda folder: folder.write_text("")])
def test_one_that_somebody_else_has_made_is_not_used(tmp_path, made):
    ready = tmp_path / f"rushes-compiled-{os.getuid()}"
    made(ready)
    folder = use_private_compile_cache()
    assert folder != ready
    assert folder.parent == tmp_path
    assert folder.lstat().st_mode & 0o777 == 0o700


def test_what_the_environment_names_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert use_private_compile_cache() == Path(tmp_path / "mine")


def test_whoever_compiles_has_it(monkeypatch):
    from model.config import DiTConfig
    from model.dit.compiled import compile_phases
    from model.dit.network import DiT

    monkeypatch.setattr(torch, "compile", lambda module, **how: module)
    compile_phases(DiT(DiTConfig(width=32, depth=1, heads=2, latent_channels=4, text_dim=8), seed=0))
    assert VARIABLE in os.environ
