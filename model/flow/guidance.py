"""Classifier-free guidance by text and by given frames.

In: a DiT and samples with their conditions. Out: one velocity from up to three answers of the network: with
everything, without text, and without text and given frames:

    v = v_none + w_visual·(v_visual − v_none) + w_text·(v_all − v_visual)

Only predictions with a non-zero weight are computed, all in one packed row. Shapes: S samples, N tokens of
the videos, P numbers of a token. Source: Ho & Salimans 2022 (guidance), Brooks et al. 2023 (two conditions),
Kynkäänniemi et al. 2024 (interval), Lin et al. 2024 (rescaling).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from model.config import SampleConfig
from model.dit.network import DiT
from model.dit.step_cache import StepCache
from model.dit.tokens import Sample, pack
from model.flow.path import segment_means


def branch_weights(text: float, visual: float, has_visual: bool) -> tuple[float, float, float]:
    """Weights of the predictions with all conditions, without text, and without both; their sum is 1."""
    if not has_visual:  # without given frames the last two are one
        return text, 0.0, 1.0 - text
    return text, visual - text, 1.0 - visual


class GuidedVelocity:
    """The guided network as a function of (tokens of the videos, time of each sample).

    Args:
        samples: latents as the solver starts with them; head and pieces as they are given (with what noise
        they are given).
        renoised: from times (N, 1), the videos' tokens with heads that are as noisy as all else: the answer
            without given frames sees those, as a training sample does whose frames were dropped.
    """

    def __init__(
        self,
        dit: DiT,
        samples: Sequence[Sample],
        cfg: SampleConfig,
        stride_time: int,
        renoise: Callable[[Tensor], Tensor],
    ) -> None:
        self._dit, self._samples, self._cfg, self._stride, self._renoised = (
            dit,
            samples,
            cfg,
            stride_time,
            renoise,
        )
        visual = [bool(s.head or s.pieces) for s in samples]
        weights = [branch_weights(cfg.guidance, cfg.visual_guidance, has) for has in visual]
        device = samples[0].latents_CTHW.device
        self._weights_3S = torch.tensor(weights, device=device).T
        # outside the interval: the answer with everything, alone
        self._plain_3S = torch.zeros_like(self._weights_3S)
        self._plain_3S[0] = 1.0
        self._video = pack([replace(s, pieces=()) for s in samples], dit.cfg.patch, stride_time)
        self._rows: dict[tuple[int, ...], tuple] = {}
        self._cache = StepCache(cfg.cache) if cfg.cache else None
        self._asked: tuple[int, ...] = ()

    def __call__(self, x_NP: Tensor, times_S: Tensor) -> Tensor:
        low, high = self._cfg.guidance_interval
        inside_S = (times_S >= low) & (times_S <= high)
        weights_3S = torch.where(inside_S, self._weights_3S, self._plain_3S)
        asked = tuple(b for b in range(3) if bool((weights_3S[b] != 0).any()))
        if asked != self._asked and self._cache:
            self._cache = StepCache(self._cfg.cache)  # other rows can't be compared with the last ones
        self._asked = asked
        answers = dict(zip(asked, self._ask(asked, x_NP, times_S), strict=True))
        segment_N = self._video.segment_N
        v_NP = x_NP.new_zeros(())
        for b, v in answers.items():
            v_NP = v_NP + weights_3S[b][segment_N, None] * v
        if self._cfg.guidance_rescale and len(asked) > 1 and 0 in answers:
            v_NP = self._rescaled(v_NP, answers[0])
        return v_NP

    def _ask(self, branches: tuple[int, ...], x_NP: Tensor, times_S: Tensor) -> list[Tensor]:
        """The network's answers for these branches, (N, P) each."""
        packed, index_N, dropped_N = self._row(branches)
        tokens = packed.tokens_ND.clone()
        tokens[~packed.piece_N] = x_NP[index_N]
        if 2 in branches:
            renoised_NP = self._renoised(times_S[self._video.segment_N, None])
            noisy_N = dropped_N & self._video.known_N[index_N]
            tokens[~packed.piece_N] = torch.where(noisy_N[:, None], renoised_NP[index_N], x_NP[index_N])
        times_K = packed.times(times_S.repeat(len(branches)), self._cfg.known_noise)
        v = self._dit(**{**packed.model_inputs(times_K), "tokens_ND": tokens}, cache=self._cache)
        return list(v[~packed.piece_N].split(len(x_NP)))

    def _row(self, branches: tuple[int, ...]) -> tuple:
        """The branches' samples in one row; which token of the videos each of its video tokens is; which are
        without frames."""
        if branches not in self._rows:
            without_text = [replace(s, text_LE=s.text_LE[:0]) for s in self._samples]
            nothing = [replace(s, head=0, pieces=()) for s in without_text]
            kinds = (self._samples, without_text, nothing)
            packed = pack([s for b in branches for s in kinds[b]], self._dit.cfg.patch, self._stride)
            count = len(self._video.tokens_ND)
            device = self._video.tokens_ND.device
            index_N = torch.arange(count, device=device).repeat(len(branches))
            dropped_N = torch.tensor([b == 2 for b in branches], device=device).repeat_interleave(count)
            self._rows[branches] = packed, index_N, dropped_N
        return self._rows[branches]

    def _rescaled(self, v_NP: Tensor, all_NP: Tensor) -> Tensor:
        """Each sample's unknown tokens brought back towards the spread of the answer with everything."""
        free_N = ~self._video.known_N
        segment_N, count = self._video.segment_N[free_N], len(self._samples)
        spread = lambda x_NP: _spread(x_NP[free_N], segment_N, count)  # noqa: E731
        ratio_S = spread(all_NP) / spread(v_NP).clamp(min=1e-12)
        share = self._cfg.guidance_rescale
        return v_NP * (share * ratio_S + (1 - share))[self._video.segment_N, None]


def _spread(x_NP: Tensor, segment_N: Tensor, count: int) -> Tensor:
    """Standard deviation of all numbers of each sample, (S,)."""
    mean_S = segment_means(x_NP.mean(-1), segment_N, count)
    return segment_means((x_NP - mean_S[segment_N, None]).square().mean(-1), segment_N, count).sqrt()
