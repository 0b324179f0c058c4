"""What every training step holds: a pure function of the items, the seed, the epoch and the budgets.

In: items (windows of clips with their exact shapes and token counts). Out: steps of micro-batches of one
shape each. A plan knows nothing of ranks: they take a step's micro-batches by cost, so a run can be stopped
and resumed on any number of workers. Nothing is dropped, nothing padded: every window drawn for an epoch is
in exactly one of its micro-batches.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pipelines.batches.config import BudgetConfig


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One draw of one window. `shape` is (frames, height, width) in pixels; `tokens` is its number of network
    tokens."""

    clip_id: str
    window: int
    draw: int
    shape: tuple[int, int, int]
    tokens: int


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Items of one shape that go through the network together."""

    items: tuple[Item, ...]
    cost: float

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.items[0].shape


Step = tuple[MicroBatch, ...]


def draw_key(seed: int, *parts: object) -> int:
    """A 63-bit seed of one random draw, computed from its key alone, so that a resumed run draws the same
    numbers.

    Keys are (seed, epoch, clip_id, window, draw, purpose).
    """
    text = "\x1f".join(str(p) for p in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def cost(tokens: int, cfg: BudgetConfig) -> float:
    """Cost of a sample of S tokens: a·S + b·S²."""
    return cfg.cost_linear * tokens + cfg.cost_quadratic * tokens * tokens


def batch_size(tokens: int, cfg: BudgetConfig) -> int:
    """Samples of a micro-batch of one shape; one at least, however large it is."""
    by_tokens = cfg.max_tokens // tokens
    by_cost = int(cfg.max_cost // cost(tokens, cfg)) if cfg.max_cost != float("inf") else by_tokens
    return max(1, min(by_tokens, by_cost))


def _shuffled(values: Sequence, key: int) -> list:
    """The values in an order that depends on the key and on their contents, not on the input order."""
    return sorted(values, key=lambda v: hashlib.blake2b(f"{key}\x1f{v!r}".encode(), digest_size=8).digest())


def _draw_windows(items: Sequence[Item], seed: int, epoch: int, per_clip: int | None) -> list[Item]:
    """The items of an epoch: all of them, or `per_clip` of each clip. A window repeats only after all windows
    of its clip were drawn."""
    if per_clip is None:
        return list(items)
    by_clip: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_clip[item.clip_id].append(item)
    drawn = []
    for clip_id, windows in by_clip.items():
        order = _shuffled(sorted(windows), draw_key(seed, epoch, "windows", clip_id))
        drawn += [replace(order[i % len(order)], draw=i // len(order)) for i in range(per_clip)]
    return drawn


def plan_epoch(items: Sequence[Item], seed: int, epoch: int, cfg: BudgetConfig) -> list[Step]:
    """The steps of an epoch.

    Items of a shape are shuffled and cut into micro-batches, each about as costly as the budgets allow;
    micro-batches are shuffled and taken `batches_per_step` at a time. The order in which `items` come makes
    no difference.

    Raises:
        ValueError: there is nothing to plan.
    """
    chosen = _draw_windows(items, seed, epoch, cfg.windows_per_clip)
    if not chosen:
        raise ValueError(
            "there is nothing to train on: no window fits; lower windows.holdout_share or use longer clips"
        )
    by_shape: dict[tuple, list[Item]] = defaultdict(list)
    for item in chosen:
        by_shape[(item.shape, item.tokens)].append(item)
    batches: list[MicroBatch] = []
    for (_, tokens), group in sorted(by_shape.items()):
        order = _shuffled(sorted(group), draw_key(seed, epoch, "items"))
        size = batch_size(tokens, cfg)
        for start in range(0, len(order), size):
            batches.append(
                MicroBatch(
                    tuple(order[start : start + size]), cost(tokens, cfg) * len(order[start : start + size])
                )
            )
    order = _shuffled(batches, draw_key(seed, epoch, "batches"))
    return [
        tuple(order[start : start + cfg.batches_per_step])
        for start in range(0, len(order), cfg.batches_per_step)
    ]


def iterate_steps(
    items: Sequence[Item], seed: int, start: int, cfg: BudgetConfig
) -> Iterator[tuple[int, int, Step]]:
    """(step, epoch, micro-batches) from a step number on, without end, across epochs."""
    step, epoch = 0, 0
    while True:
        plan = plan_epoch(items, seed, epoch, cfg)
        for batches in plan[max(0, start - step) :] if start < step + len(plan) else ():
            yield max(step, start), epoch, batches
            start += 1
        step += len(plan)
        epoch += 1


def assign_to_ranks(step: Step, world: int) -> list[list[MicroBatch | None]]:
    """A step's micro-batches over ranks: the costliest first, each to the rank with the least so far.

    All ranks get equally many entries, because ZeRO 2 and 3 count backward passes; None is an idle one of
    zero weight.
    """
    ranks: list[list[MicroBatch | None]] = [[] for _ in range(world)]
    load = [0.0] * world
    for batch in sorted(step, key=lambda b: (-b.cost, b.items)):
        rank = load.index(min(load))
        ranks[rank].append(batch)
        load[rank] += batch.cost
    most = max(len(r) for r in ranks)
    return [r + [None] * (most - len(r)) for r in ranks]
