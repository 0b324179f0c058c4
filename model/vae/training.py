"""The VAE and its discriminator as they are trained together: one forward pass, one number, both players'
gradients.

In: video (B, 3, T, H, W) in [-1, 1], and what counts at this step. Out: the loss to go backward from, and its
parts. The VAE's gradient comes from the distance to the original, KL, and the discriminator's opinion; the
discriminator's from telling originals from reconstructions, and from nothing else. So one optimiser, one
checkpoint and one backward pass do for both.

The gradient of everything that looks at the reconstruction is taken at the reconstruction, once for each, and
handed on to the VAE as one: their lengths are then known, which decide how much the discriminator counts, and
neither it nor a perceptual network gets gradients of its own weights from the VAE's wish.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.vae.adversarial import adaptive_weight, discriminator_loss, generator_loss
from model.vae.discriminator import Discriminator
from model.vae.loss import Perceptual, reconstruction_loss
from model.vae.network import VAE


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Loss weights of one step.

    Attributes:
        perceptual: see `model.vae.loss.Perceptual`; None for no such term.
        adversarial: share of the discriminator's gradient in the length of the distance's; 0 while it does
        not play.
        softness: see `model.vae.loss.reconstruction_loss`.
    """

    kl: float
    perceptual: Perceptual | None = None
    perceptual_weight: float = 0.0
    adversarial: float = 0.0
    softness: float = 0.0


class VAETraining(nn.Module):
    """See the module's docstring.

    Args:
        discriminator: None if there is no adversarial training at any step.
    """

    def __init__(self, vae: VAE, discriminator: Discriminator | None = None) -> None:
        super().__init__()
        self.vae, self.discriminator = vae, discriminator

    def forward(
        self, x_BCTHW: Tensor, generator: torch.Generator, weights: LossWeights
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, whose value is that of the VAE's own terms plus the discriminator's; and the parts,
        detached: l1, kl, and where they count perceptual, adversarial (−score of the reconstruction),
        adversarial_weight, discriminator.
        """
        posterior, recon = self.vae(x_BCTHW, generator)
        seen = recon.detach().float().requires_grad_()
        loss, parts = reconstruction_loss(
            x_BCTHW, seen, weights.perceptual, weights.perceptual_weight, weights.softness
        )
        (pull,) = torch.autograd.grad(loss, seen)
        kl = posterior.kl().mean()
        others = weights.kl * kl
        parts["kl"] = kl.detach()
        if weights.adversarial and self.discriminator is not None:
            fooled = generator_loss(self.discriminator(seen))
            (towards_real,) = torch.autograd.grad(fooled, seen)
            weight = weights.adversarial * adaptive_weight(pull, towards_real)
            pull = pull + weight * towards_real
            judged = discriminator_loss(self.discriminator(x_BCTHW), self.discriminator(recon.detach()))
            others = others + judged
            parts |= {
                "adversarial": fooled.detach(),
                "adversarial_weight": weight,
                "discriminator": judged.detach(),
            }
        carried = (recon.float() * pull).sum()
        return loss.detach() + (carried - carried.detach()) + others, parts
