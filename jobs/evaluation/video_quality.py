"""How near a reconstruction comes to its original beyond mean error: structure, stillness, sharpness in
motion.

In: original and reconstruction, each (B, 3, T, H, W) in [-1, 1]; the reconstruction is clamped to that. Out:
one figure per video, (B,). NaN where a video has nothing to measure, which the caller leaves out of a mean. A
level is 1/255 of the range from black to white, as in 8-bit video. Shapes: B batch, T frames, H W height and
width.
"""

import torch
from torch import Tensor

_WINDOW_PX, _SIGMA_PX = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in the reference implementation of SSIM
_LEVELS = 127.5  # of one unit


def ssim(x_BCTHW: Tensor, y_BCTHW: Tensor) -> Tensor:
    """Structural similarity of luma, mean over positions and frames: 1 for equal videos, about 0 for
    unrelated ones.

    Wang, Bovik, Sheikh & Simoncelli 2004: windows of 11 × 11 weighted by a Gaussian of σ 1.5 that lie wholly
    inside the frame, K1 0.01, K2 0.03. Symmetric but for the clamp.

    Returns:
        (B,) in [-1, 1]; NaN where a side is under 11 pixels, which is no window.
    """
    if min(x_BCTHW.shape[-2:]) < _WINDOW_PX:
        return _nothing(x_BCTHW)
    # double: a variance is a difference of near numbers, and in flat places float32's error is felt beside C2
    x, y = (_luma(v).double() / 2 + 0.5 for v in (x_BCTHW, y_BCTHW.clamp(-1, 1)))
    mean_x, mean_y, square_x, square_y, product = _windowed(torch.stack([x, y, x * x, y * y, x * y]))
    var_x, var_y, cov = square_x - mean_x**2, square_y - mean_y**2, product - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + _C1) * (2 * cov + _C2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2))
    return similarity.flatten(1).mean(1).float()


def flicker(x_BCTHW: Tensor, y_BCTHW: Tensor, still_levels: float = 2.0, min_share: float = 0.01) -> Tensor:
    """How much more the reconstruction changes from frame to frame than the original, where the original
    stands still.

    A pixel stands still from one frame to the next when none of its channels changes by more than
    `still_levels`. Over all of them: mean |yₜ − yₜ₋₁| − mean |xₜ − xₜ₋₁|.

    Args:
        min_share: least share of pixels that stand still; fewer are chance, not a scene.

    Returns:
        (B,) in levels, 0 … 255: 0 for the original itself, below 0 where noise that the original has was
        smoothed away. NaN for a single frame, and where nothing stands still.
    """
    if x_BCTHW.shape[2] < 2:
        return _nothing(x_BCTHW)
    change_x, change_y = _change(x_BCTHW), _change(y_BCTHW.clamp(-1, 1))
    still_BTHW = change_x.amax(1) <= still_levels
    excess = _sum((change_y - change_x).mean(1) * still_BTHW)
    return _where_enough(still_BTHW, excess / _sum(still_BTHW), min_share)


def motion_sharpness(
    x_BCTHW: Tensor, y_BCTHW: Tensor, moving_levels: float = 8.0, min_share: float = 0.01
) -> Tensor:
    """How much detail is left in what moves: energy of the luma's gradient in the reconstruction over the
    original's.

    A pixel moves when the original's luma has changed by at least `moving_levels` since the frame before. The
    energy is the sum of squared differences to the right and to the lower neighbour (energy of gradient;
    Subbarao, Choi & Nikzad 1993).

    Args:
        min_share: least share of pixels that move; fewer are chance, not a motion.

    Returns:
        (B,): 1 for the original itself, less where motion is blurred, more where the reconstruction adds
        edges or noise. NaN for a single frame, and where nothing moves.
    """
    if x_BCTHW.shape[2] < 2:
        return _nothing(x_BCTHW)
    x, y = _luma(x_BCTHW) * _LEVELS, _luma(y_BCTHW.clamp(-1, 1)) * _LEVELS
    moving_BTHW = (x.diff(dim=1).abs() >= moving_levels)[..., :-1, :-1]
    energy_x, energy_y = (_sum(_gradient_energy(v[:, 1:]) * moving_BTHW) for v in (x, y))
    return _where_enough(moving_BTHW & (energy_x > 0).view(-1, 1, 1, 1), energy_y / energy_x, min_share)


def _luma(x_BCTHW: Tensor) -> Tensor:
    red, green, blue = x_BCTHW.float().unbind(1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _windowed(x: Tensor) -> Tensor:
    """Gaussian means over all windows inside the last two dimensions."""
    offsets = torch.arange(_WINDOW_PX, dtype=torch.float64) - _WINDOW_PX // 2
    gaussian = torch.exp(-offsets.square() / (2 * _SIGMA_PX**2))
    weights: list[float] = (gaussian / gaussian.sum()).tolist()
    for dim in (-2, -1):
        length = x.shape[dim] - _WINDOW_PX + 1
        x = sum((w * x.narrow(dim, k, length) for k, w in enumerate(weights)), x.new_zeros(()))
    return x


def _change(x_BCTHW: Tensor) -> Tensor:
    """Levels by which each channel of each pixel changes from a frame to the next, (B, 3, T − 1, H, W)."""
    return x_BCTHW.float().diff(dim=2).abs() * _LEVELS


def _gradient_energy(luma_BTHW: Tensor) -> Tensor:
    here = luma_BTHW[..., :-1, :-1]
    return (luma_BTHW[..., :-1, 1:] - here).square() + (luma_BTHW[..., 1:, :-1] - here).square()


def _sum(x: Tensor) -> Tensor:
    """Per video, (B,)."""
    return x.flatten(1).sum(1)


def _where_enough(mask_BTHW: Tensor, figure_B: Tensor, min_share: float) -> Tensor:
    share_B = mask_BTHW.flatten(1).float().mean(1)
    return torch.where((share_B > 0) & (share_B >= min_share), figure_B, torch.nan)


def _nothing(x_BCTHW: Tensor) -> Tensor:
    return torch.full((len(x_BCTHW),), torch.nan, device=x_BCTHW.device)
