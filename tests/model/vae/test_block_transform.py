"""The cosine transform that the VAE's straight path is."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from model.config import vae_config
from model.vae.block_transform import block_transform
from model.vae.loss import psnr_db
from model.vae.network import VAE
from tests.support.footage import pan


@pytest.mark.parametrize(
    ("frames", "side", "channels"), [(4, 8, 8), (4, 8, 64), (8, 8, 32), (4, 16, 16), (1, 4, 48)]
)
def test_there_and_back_is_a_projection_that_keeps_plain_colours(frames, side, channels):
    there, back = (matrix.double() for matrix in block_transform(frames, side, channels))
    assert there.shape == (channels, 3 * frames * side**2) == back.T.shape
    torch.testing.assert_close(there @ back, torch.eye(channels, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(back @ there, (back @ there).T, atol=1e-6, rtol=0)
    plain = torch.tensor([0.9, -0.2, 0.4], dtype=torch.float64).repeat(frames * side**2)
    torch.testing.assert_close(back @ (there @ plain), plain, atol=1e-6, rtol=0)


def test_with_all_its_functions_nothing_is_lost():
    there, back = block_transform(2, 4, 96)
    x = torch.randn(96, 10)
    torch.testing.assert_close(back @ (there @ x), x, atol=1e-5, rtol=1e-5)


def test_more_channels_than_a_block_has_numbers_are_refused():
    with pytest.raises(ValueError, match="97 latent channels are more than the 96 numbers of a block"):
        block_transform(2, 4, 97)


def test_an_untrained_vae_shows_the_picture_and_more_channels_more_of_it():
    frames = pan(1, 9, 48, 64, right=0.5)
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    seen = []
    for channels in (8, 16, 64):
        vae = VAE(vae_config("tiny", base_channels=8, latent_channels=channels)).eval()
        with torch.no_grad():
            seen.append(float(psnr_db(x, vae.decode(vae.encode(x).mean))[0]))
    assert seen[0] > 18
    assert seen == sorted(seen)


def test_it_does_not_matter_where_a_model_is_made_when_it_is_first_imported():
    code = (
        "import torch\n"
        "with torch.device('meta'):\n"
        "    from model.config import vae_config\n"
        "    from model.vae.network import VAE\n"
        "    vae = VAE(vae_config('tiny', base_channels=8))\n"
        "assert {t.device.type for t in vae.state_dict().values()} == {'meta'}\n"
        "VAE(vae_config('tiny', base_channels=8)).encode(torch.zeros(1, 3, 1, 8, 8))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
