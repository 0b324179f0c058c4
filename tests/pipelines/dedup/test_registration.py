"""Where and when one look lies in another is found from starts that are only near."""

import numpy as np
import pytest

from pipelines.dedup.looks import Looks
from pipelines.dedup.registration import InitialAlignment, refine
from tests.pipelines.dedup.moments import FPS, looks_of, row
from tests.support.footage import texture


@pytest.mark.parametrize("away_s", [-0.22, -0.15, 0.0, 0.15, 0.22])
def test_the_lag_is_found_by_something_small_that_moves_by_more_than_its_size(away_s):
    frames = texture(11, 96, 128)[None].repeat(56, axis=0)
    for number, frame in enumerate(frames):
        x, y = (int(side / 2 * (1 + np.sin(pace * number / FPS))) for side, pace in ((118, 1.6), (86, 2.3)))
        frame[y : y + 10, x : x + 10] = 255
    late = 18
    table = looks_of([(row(name, shown), shown) for name, shown in (("a", frames), ("b", frames[late:]))])
    a, b = Looks(table, [0, 1])
    found = refine(a, b, InitialAlignment(1.0, (0.0, 0.0, 1.0, 1.0), away_s - late / FPS))
    assert found is not None
    assert found.lag_s == pytest.approx(-late / FPS, abs=0.02)
