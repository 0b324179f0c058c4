"""An error on a worker is one line in the words of whoever raised it, and what can't succeed is known to be
so."""

import errno

import pytest

from jobs.cluster.failures import is_permanent, one_line_message


@pytest.fixture(scope="module")
def raised(shared_ray):
    """What `ray.get` raises for an error of a task."""
    import ray

    def of(error):
        @ray.remote(max_retries=0)
        def fails():
            raise error

        try:
            ray.get(fails.remote())
        except Exception as wrapped:
            return wrapped
        raise AssertionError("the task did not fail")

    return of


@pytest.mark.parametrize(
    ("error", "line", "forever"),
    [
        (ValueError("clip a in shard b: cut off\nmore"), "clip a in shard b: cut off", True),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x"),
            "[Errno 28] No space left on device: '/x'",
            True,
        ),
        (FileNotFoundError(errno.ENOENT, "No such file", "/y"), "[Errno 2] No such file: '/y'", True),
        (KeyError("loss"), "KeyError: 'loss'", True),
        (AssertionError(), "AssertionError", True),
        (ConnectionError("store away"), "store away", False),
        (TimeoutError("collective"), "collective", False),
        (RuntimeError("Connection closed by peer"), "Connection closed by peer", False),
    ],
)
def test_the_line_is_the_tasks_own(raised, error, line, forever):
    wrapped = raised(error)
    assert one_line_message(wrapped) == line
    assert one_line_message(error) == line
    assert is_permanent(wrapped) == is_permanent(error) == forever


def test_a_worker_that_died_may_be_started_again(shared_ray):
    import os

    import ray

    @ray.remote(max_retries=0)
    def dies():
        os._exit(1)

    with pytest.raises(ray.exceptions.RayError) as caught:
        ray.get(dies.remote())
    assert not is_permanent(caught.value)
    assert "\n" not in one_line_message(caught.value)
