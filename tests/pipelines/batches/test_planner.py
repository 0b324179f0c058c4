"""Laws of the planner: nothing lost, nothing repeated, no rank's state, budgets kept."""

from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.batches.config import BudgetConfig
from pipelines.batches.planner import (
    Item,
    assign_to_ranks,
    batch_size,
    cost,
    draw_key,
    iterate_steps,
    plan_epoch,
)

SHAPES = (((17, 48, 112), 105), ((9, 64, 112), 84), ((1, 80, 96), 30), ((5, 48, 48), 18))


@st.composite
def item_lists(draw):
    count = draw(st.integers(1, 60))
    chosen = draw(st.lists(st.sampled_from(SHAPES), min_size=count, max_size=count))
    return [Item(f"clip{i // 3}", i % 3, 0, *shape) for i, shape in enumerate(chosen)]


budgets = st.builds(
    BudgetConfig,
    max_tokens=st.integers(20, 2000),
    max_cost=st.one_of(st.just(float("inf")), st.floats(10, 1e6)),
    cost_quadratic=st.sampled_from([0.0, 0.01]),
    batches_per_step=st.integers(1, 9),
)


@given(items=item_lists(), cfg=budgets, seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_an_epoch_holds_every_item_exactly_once(items, cfg, seed, epoch):
    planned = [item for step in plan_epoch(items, seed, epoch, cfg) for batch in step for item in batch.items]
    assert Counter(planned) == Counter(items)


@given(items=item_lists(), cfg=budgets)
def test_a_micro_batch_has_one_shape_and_keeps_its_budgets(items, cfg):
    for step in plan_epoch(items, 0, 0, cfg):
        assert 1 <= len(step) <= cfg.batches_per_step
        for batch in step:
            assert len({(i.shape, i.tokens) for i in batch.items}) == 1
            alone = len(batch.items) == 1
            assert alone or sum(i.tokens for i in batch.items) <= cfg.max_tokens
            assert alone or batch.cost <= cfg.max_cost


@given(items=item_lists(), cfg=budgets, order=st.randoms())
def test_the_order_in_which_items_come_makes_no_difference(items, cfg, order):
    shuffled = list(items)
    order.shuffle(shuffled)
    assert plan_epoch(items, 1, 0, cfg) == plan_epoch(shuffled, 1, 0, cfg)


@settings(deadline=None)
@given(items=item_lists(), cfg=budgets, stop=st.integers(0, 40))
def test_stopping_and_resuming_changes_nothing(items, cfg, stop):
    whole = list(islice(iterate_steps(items, 1, 0, cfg), 60))
    assert list(islice(iterate_steps(items, 1, stop, cfg), 60 - stop)) == whole[stop:]
    assert [number for number, *_ in whole] == list(range(60))


@given(items=item_lists(), cfg=budgets, world=st.integers(1, 8))
def test_ranks_share_a_step_whatever_their_number(items, cfg, world):
    for step in plan_epoch(items, 1, 0, cfg):
        ranks = assign_to_ranks(step, world)
        assert len(ranks) == world
        assert len({len(r) for r in ranks}) == 1, "all ranks make equally many backward passes"
        assert Counter(b for r in ranks for b in r if b is not None) == Counter(step)
        loads = [sum(b.cost for b in r if b) for r in ranks]
        assert max(loads) - min(loads) <= max(b.cost for b in step)


@given(items=item_lists(), cfg=budgets, per_clip=st.integers(1, 7), epoch=st.integers(0, 3))
def test_every_clip_gives_an_epoch_as_many_windows_as_any_other(items, cfg, per_clip, epoch):
    planned = [
        i
        for s in plan_epoch(items, 1, epoch, replace(cfg, windows_per_clip=per_clip))
        for b in s
        for i in b.items
    ]
    assert Counter(i.clip_id for i in planned) == dict.fromkeys({i.clip_id for i in items}, per_clip)
    assert len(set(planned)) == len(planned), "two draws of a window have different keys"
    for clip_id in {i.clip_id for i in items}:
        own = {i.window for i in items if i.clip_id == clip_id}
        drawn = Counter(dict.fromkeys(own, 0))
        drawn.update(i.window for i in planned if i.clip_id == clip_id)
        assert max(drawn.values()) - min(drawn.values()) <= 1, (
            "none is drawn twice before every other was drawn once"
        )


def test_epochs_differ():
    items = [Item(f"clip{i}", 0, 0, *SHAPES[0]) for i in range(32)]
    cfg = BudgetConfig(batches_per_step=2, max_tokens=210)
    assert plan_epoch(items, 1, 0, cfg) != plan_epoch(items, 1, 1, cfg)
    assert plan_epoch(items, 1, 0, cfg) != plan_epoch(items, 2, 0, cfg)


def test_batch_size_by_hand():
    cfg = BudgetConfig(max_tokens=1000, max_cost=500.0, cost_linear=1.0, cost_quadratic=0.01)
    assert cost(100, cfg) == 200.0
    assert batch_size(100, cfg) == 2  # 500 / 200
    assert batch_size(10, cfg) == 45  # 500 / 11
    assert batch_size(5000, cfg) == 1  # one at least
    assert batch_size(100, BudgetConfig(max_tokens=1000)) == 10


def test_nothing_to_plan_says_what_to_do():
    with pytest.raises(ValueError, match="no window fits"):
        plan_epoch([], 0, 0, BudgetConfig())


def test_draw_keys_are_for_one_thing_each():
    assert draw_key(1, "a", 2) == draw_key(1, "a", 2)
    assert len({draw_key(1, "a", 2), draw_key(1, "a2", ""), draw_key(2, "a", 2), draw_key(1, "a", 3)}) == 4
    assert 0 <= draw_key(1, "a") < 2**63
