"""Losses of adversarial training, and the adaptive weight of the adversarial gradient.

In: scores of a discriminator, or gradients. Out: losses, or a weight.
"""

import torch.nn.functional as F
from torch import Tensor

_LARGEST = 1e4
_LEAST = 1e-12  # of a norm that is divided by


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss (Lim & Ye 2017): scores of real samples above 1, of fake samples below −1. Tensors of any
    shape."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def generator_loss(fake: Tensor) -> Tensor:
    """Negative mean score of fake samples."""
    return -fake.mean()


def adaptive_weight(reconstruction_grad: Tensor, adversarial_grad: Tensor) -> Tensor:
    """The factor that scales the adversarial gradient to the norm of the reconstruction loss's gradient, a
    scalar.

    Esser et al. 2021 compare gradients at the decoder's last layer; these are at its output, which needs no
    pass through it.

    Args:
        reconstruction_grad, adversarial_grad: gradients with respect to the reconstruction.
    """
    return (
        (reconstruction_grad.norm() / adversarial_grad.norm().clamp(min=_LEAST)).clamp(max=_LARGEST).detach()
    )
