"""What earlier code made is read by the code now, and says the same: a dataset with its latents and their
VAE, a DiT, and fingerprints.

The files beside this one were made on 2026-12-01, before the folders were rebuilt, and are never made again:
a change that can't read them migrates them, or names what it can't. `make.py` tells what the numbers in
`expected.json` are of.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_job
from tests.golden import make

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A copy: jobs leave their runs in a dataset."""
    return shutil.copytree(HERE / "dataset", tmp_path_factory.mktemp("golden") / "dataset")


def test_every_row_and_every_clip_is_as_it_was(dataset):
    assert make.of_dataset(dataset) == EXPECTED["dataset"]


def test_latents_and_texts_are_as_they_were(dataset):
    assert make.of_latents(dataset) == EXPECTED["latents"]


def test_no_fingerprint_of_the_default_settings_changes():
    """A new one means that everybody's footage is measured, captioned or cut again: raise a VERSION only
    where that is meant."""
    assert make.of_settings() == EXPECTED["fingerprints"]


@pytest.mark.parametrize("network", ["vae", "dit"])
def test_a_network_gives_what_it_gave(network):
    (vae,) = (HERE / "dataset" / "latents").glob("*/vae")
    made = make.of_vae(vae) if network == "vae" else make.of_dit(HERE / "dit")
    for name, numbers in EXPECTED[network].items():
        np.testing.assert_allclose(made[name], numbers, rtol=1e-3, atol=1e-4, err_msg=name)


def test_the_dataset_verifies_and_is_decided_again(dataset):
    run_job("verify", f"dataset={dataset}")
    decided = run_job("select", f"dataset={dataset}", "recipe.min.duration_s=1.2")
    assert decided["clips_cut"] == 0
