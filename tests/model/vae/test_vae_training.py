"""Two players, one backward pass: each gets its own gradient and nothing of the other's."""

import pytest
import torch

from model.config import vae_config
from model.vae.adversarial import adaptive_weight, discriminator_loss, generator_loss
from model.vae.discriminator import Discriminator
from model.vae.loss import reconstruction_loss, vae_loss
from model.vae.network import VAE
from model.vae.training import LossWeights, VAETraining


def video(frames=5, height=16, width=24, seed=0):
    return torch.rand(2, 3, frames, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def training(adversarial=True):
    vae = VAE(vae_config("tiny", base_channels=8, latent_channels=4))
    return VAETraining(vae, Discriminator(channels=4, layers=2) if adversarial else None)


def generator():
    return torch.Generator().manual_seed(1)


def look(x, y):
    """A perceptual distance, by hand: of means over blocks of pixels."""
    pool = torch.nn.functional.avg_pool3d
    return (pool(x, (1, 4, 4)) - pool(y, (1, 4, 4))).square().flatten(1).mean(1)


def gradients(module):
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_without_a_discriminator_it_is_the_plain_loss_with_the_plain_gradients():
    both = training(adversarial=False)
    loss, parts = both(video(), generator(), LossWeights(kl=0.01, perceptual=look, perceptual_weight=0.5))
    loss.backward()
    ours = gradients(both.vae)
    both.zero_grad()
    posterior, recon = both.vae(video(), generator())
    plain, plain_parts = vae_loss(video(), posterior, recon, 0.01, look, 0.5)
    plain.backward()
    theirs = gradients(both.vae)
    torch.testing.assert_close(loss, plain)
    assert {n: float(v) for n, v in parts.items()} == pytest.approx(
        {n: float(v) for n, v in plain_parts.items()}
    )
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-6, rtol=1e-4)


def test_each_player_gets_its_own_gradient():
    both, weights = training(), LossWeights(kl=0.01, adversarial=0.3)
    loss, parts = both(video(), generator(), weights)
    loss.backward()
    vae, critic = gradients(both.vae), gradients(both.discriminator)
    both.zero_grad()
    posterior, recon = both.vae(video(), generator())
    judged = discriminator_loss(both.discriminator(video()), both.discriminator(recon.detach()))
    judged.backward()
    for name, expected in gradients(both.discriminator).items():
        torch.testing.assert_close(critic[name], expected, atol=1e-6, rtol=1e-4)
    both.zero_grad()
    original = vae_loss(video(), posterior, recon, 0.01)[0]
    (original + parts["adversarial_weight"] * generator_loss(both.discriminator(recon))).backward()
    for name, expected in gradients(both.vae).items():
        torch.testing.assert_close(vae[name], expected, atol=1e-6, rtol=1e-4)
    assert float(parts["adversarial_weight"]) > 0


def test_the_discriminators_gradient_is_as_long_as_it_is_told_to_be():
    a, b = torch.randn(3, 4), torch.randn(3, 4) * 100
    torch.testing.assert_close((adaptive_weight(a, b) * b).norm(), a.norm())
    assert float(adaptive_weight(a, torch.zeros(3, 4))) == 1e4


def test_before_it_plays_the_discriminator_is_not_asked():
    both = training()
    loss, parts = both(video(), generator(), LossWeights(kl=0.01))
    loss.backward()
    assert set(parts) == {"l1", "kl"}
    assert not gradients(both.discriminator)


@pytest.mark.parametrize("shape", [(1, 16, 16), (5, 16, 40), (17, 40, 16)])
def test_a_score_per_patch_for_any_length_and_size(shape):
    frames, height, width = shape
    scores = Discriminator(channels=4, layers=2)(video(frames, height, width))
    assert scores.shape == (2, (frames + 1) // 2, height // 4, width // 4)


def test_a_still_clip_is_judged_as_its_frame_is():
    critic, image = Discriminator(channels=4, layers=2), video(1)
    scores = critic(image.expand(-1, -1, 5, -1, -1))
    for t in range(scores.shape[1]):
        torch.testing.assert_close(scores[:, t], critic(image)[:, 0], atol=1e-6, rtol=0)


def test_hinge_losses_by_hand():
    real, made = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert float(discriminator_loss(real, made)) == pytest.approx(0.5 * (0.25 + 0.5))
    assert float(generator_loss(made)) == pytest.approx(1.5)


def test_it_learns_to_tell_blurred_from_sharp():
    critic = Discriminator(channels=8, layers=2)
    optimiser = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))
    blur = torch.nn.AvgPool3d((1, 3, 3), stride=1, padding=(0, 1, 1))
    for step in range(30):
        x = video(seed=step)
        loss = discriminator_loss(critic(x), critic(blur(x)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x = video(seed=1000)
    with torch.no_grad():
        assert critic(x).mean() > critic(blur(x)).mean() + 1


def test_softness_squares_what_is_far_below_it_and_leaves_what_is_far_above():
    x = torch.zeros(1, 3, 1, 4, 4)
    for error, expected in ((1e-3, 1e-3**2 / (2 * 0.3)), (100.0, 100.0 - 0.3)):
        loss, parts = reconstruction_loss(x, x + error, softness=0.3)
        assert float(loss) == pytest.approx(expected, rel=0.01)
        assert float(parts["l1"]) == pytest.approx(error)
    assert float(reconstruction_loss(x, x + 0.25)[0]) == pytest.approx(0.25)
    right = x.clone().requires_grad_()
    reconstruction_loss(x, right, softness=0.3)[0].backward()
    assert not right.grad.any()  # what is right pulls nowhere
