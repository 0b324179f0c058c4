"""A VAE whose deep path counts. In a fresh one it starts from nothing, so what it sees and forgets would go
unnoticed."""

import torch
from torch import nn

from model.config import VAEConfig
from model.seeding import seeded
from model.vae.network import VAE


def deep_vae(cfg: VAEConfig) -> VAE:
    """Fresh weights, with the last layers drawn as all others are."""
    vae = VAE(cfg)
    with seeded(1), torch.no_grad():
        for layer in (vae.encoder.leave, vae.decoder.leave):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    return vae.eval()
