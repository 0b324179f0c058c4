"""Step cache for sampling: skips network calls whose output would hardly change.

In: what the first block adds to the tokens, at every step. Out: whether the other blocks need to run, and
what they added when they last did. Source: first-block caching (ParaAttention, 2024) after TeaCache (Liu et
al. 2024): the changes of skipped steps add up, so an error can't creep in slowly. Shapes: N tokens, D
channels.
"""

from collections.abc import Callable

from torch import Tensor


class StepCache:
    """For one run of one sampler. Decides for the whole row, so what is in a batch matters, which it else
    does not.

    threshold: a step is skipped while the first block's residual has changed by less than this share, in all,
    since the last step that was computed. 0 computes every step.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.computed = self.skipped = 0
        self._first_ND: Tensor | None = None
        self._rest_ND: Tensor | None = None
        self._change = 0.0

    def remaining_residual(self, first_ND: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """The residual of the other blocks, from the cache or computed.

        Args:
            first_ND: what the first block added.
            compute: runs the other blocks and returns what they add.
        """
        before_ND = self._first_ND
        if self._rest_ND is not None and before_ND is not None and before_ND.shape == first_ND.shape:
            scale = before_ND.abs().mean().clamp(min=1e-12)
            self._change += float((first_ND - before_ND).abs().mean() / scale)
            self._first_ND = first_ND
            if self._change < self.threshold:
                self.skipped += 1
                return self._rest_ND
        self._first_ND, self._rest_ND, self._change = first_ND, compute(), 0.0
        self.computed += 1
        return self._rest_ND
