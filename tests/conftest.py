"""What the tests share: one Ray for all that don't kill it, and one tiny run of the whole workflow on
rendered footage."""

import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.s3_server import INSTALL, S3Server, weed_path

TINY = [
    "ray.num_cpus=2",
    "shapes.max_pixels=2304", "shapes.fps=8", "shapes.max_frames=5", "windows.stride_s=0.5",
    "windows.holdout_min_frames=1",
    "curate.recipe=permissive", "curate.recipe.min.duration_s=0.5",
    "train_vae.size=tiny", "train_vae.model.base_channels=16", "train_vae.max_steps=6", "train_vae.crop=32",
    "train_vae.workers.num=2",
    "train_vae.budget.max_tokens=64", "train_vae.budget.batches_per_step=2", "train_vae.validate_every=3",
    "train_vae.checkpoint_every=3",
    "train.size=tiny", "train.model.width=32", "train.model.depth=2", "train.max_steps=6",
    "train.workers.num=2", "train.optim.schedule=constant",
    "train.budget.max_tokens=32", "train.budget.batches_per_step=2", "train.log_every=1",
    "train.validate_every=3", "train.checkpoint_every=3",
    "evaluate.seeds=1", "evaluate.steps=2",
]  # fmt: skip


@dataclass(frozen=True)
class SharedRay:
    """Addresses of the Ray that the tests share: for `ray.address=`, and of its dashboard for `rushes
    submit`."""

    address: str
    dashboard: str


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What jobs keep of this user lies in a folder of the tests, for jobs in other processes, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[SharedRay]:
    """A Ray with a dashboard, for jobs in this process and, by its address, in others, which find its token
    in their environment."""
    import ray

    from jobs.cluster.local_ray import read_environment

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        read_environment()
        context = ray.init(
            num_cpus=2,
            include_dashboard=True,
            dashboard_port=0,
            log_to_driver=False,
            object_store_memory=256 * 1024**2,
        )
        yield SharedRay(ray.get_runtime_context().gcs_address, f"http://{context.dashboard_url}")
        ray.shutdown()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that other users may enter: pytest's own are its user's alone."""
    with tempfile.TemporaryDirectory(prefix="rushes-open-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server for all tests that don't kill it; its environment is set by `s3`."""
    if weed_path() is None:
        pytest.skip(f"no S3 server to test with: {INSTALL}")
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process's environment pointing at it."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def confined_without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Lets the processes that decode go without some means of confinement; see
    `pipelines.sandbox.isolation`."""
    from pipelines.sandbox import child

    def without(*means: str) -> None:
        child.stop()
        monkeypatch.setattr(child, "_without", means)

    yield without
    child.stop()


def run_job(name: str, *overrides: str) -> Any:
    """Compose, check and run a job in this process; what it returns."""
    from jobs.cli.compose import compose
    from jobs.cli.registry import JOBS
    from jobs.cli.run_folder import open_run

    job = JOBS[name]
    composed = compose(job, list(overrides))
    module = job.module()
    module.check(composed.cfg)
    with open_run(name, module.run_folder(composed.cfg), composed.yaml) as run:
        return module.run(composed.cfg, run)


@dataclass(frozen=True)
class TinyRun:
    """A finished run of the workflow: its folder, its command line, its metrics."""

    out: Path
    overrides: list[str]
    metrics: dict[str, Any]

    def made(self, job: str) -> Path:
        """Where a node's output is."""
        from jobs.cli.run_records import read_record

        record = read_record(self.out, job)
        assert record is not None
        return Path(record["path"])


@pytest.fixture(scope="session")
def tiny_run(shared_ray: SharedRay, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The whole workflow on three shots of 64 × 48 and 48 × 64: seconds of footage, a handful of steps."""
    from tests.support.footage import film, pan, write, zoom

    footage, out = tmp_path_factory.mktemp("footage"), tmp_path_factory.mktemp("run")
    write(footage / "wide.mp4", film(pan(1, 24, 48, 64), zoom(2, 24, 48, 64)), fps=16)
    write(footage / "tall.mp4", pan(3, 24, 64, 48), fps=16)
    overrides = [f"footage={footage}", f"out={out}", *TINY]
    return TinyRun(out, overrides, run_job("run", *overrides))


@pytest.fixture(scope="session")
def mixed(shared_ray: SharedRay, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset as a data engineer has it: two files of one name, what is too short, static, a copy, broken,
    no video; clips with frames that an edit list hides. Nobody may change it.
    """
    import shutil

    import numpy as np

    from tests.support.footage import film, pan, texture, write

    footage, dataset = (
        tmp_path_factory.mktemp("mixed") / "footage",
        tmp_path_factory.mktemp("mixed") / "dataset",
    )
    (footage / "march").mkdir(parents=True)
    height, width = 48, 64
    one_group = {"g": "500", "x264-params": "scenecut=0:keyint=500"}
    write(
        footage / "walk.mp4",
        film(pan(1, 30, height, width), pan(2, 30, height, width)),
        fps=25,
        options=one_group,
    )
    write(footage / "march" / "walk.mp4", film(pan(3, 30, height, width), pan(4, 8, height, width)), fps=25)
    write(footage / "harbour, dusk.mp4", pan(5, 30, height, width, right=0, down=1), fps=25)
    shutil.copy(footage / "harbour, dusk.mp4", footage / "harbour.copy.mp4")
    write(footage / "static.mp4", np.repeat(texture(8, height, width)[None], 30, 0), fps=25)
    (footage / "broken.mp4").write_bytes((footage / "walk.mp4").read_bytes()[:2000])
    (footage / "notes.txt").write_text("shot on a sunny day")
    run_job(
        *("curate", f"footage={footage}", f"dataset={dataset}", f"ray.address={shared_ray.address}"),
        *("scores.text=false", "scores.nsfw=false", "recipe=permissive", "recipe.min.duration_s=0.5"),
        *("recipe.min.motion_mean=0.002", "cut.max_lead_share=0.9"),
    )
    return dataset
