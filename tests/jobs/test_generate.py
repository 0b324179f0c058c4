"""Generation from a checkpoint: exactly the size asked for, the same video from the same seed, and the file says how it was made."""

import hashlib
import json

import pytest

from pipelines.media.decode import probe_clip
from tests.conftest import run_job


@pytest.mark.parametrize(
    ("width", "height", "duration_s", "frames"), [(48, 32, 0.5, 4), (50, 36, 1.0, 8), (32, 32, 0, 1)]
)
def test_a_video_has_the_size_and_length_asked_for(tiny_run, tmp_path, width, height, duration_s, frames):
    out = tmp_path / "a.mp4"
    made = run_job(
        "generate", f"checkpoint={tiny_run.made('train')}", "prompt=a red square, moving", f"out={out}",
        f"width={width}", f"height={height}", f"duration_s={duration_s}", "fps=8", "steps=2",
    )  # fmt: skip
    assert made["num_frames"] == frames
    num_frames, _, *size, fps = probe_clip(out)
    assert (num_frames, size, fps) == (frames, [width, height], pytest.approx(8))
    assert json.loads(out.with_suffix(".json").read_text())["prompt"] == "a red square, moving"


def test_a_seed_decides(tiny_run, tmp_path):
    digests = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / f"{name}.mp4"
        run_job(
            "generate",
            f"checkpoint={tiny_run.made('train')}",
            "prompt=x",
            f"out={out}",
            f"seed={seed}",
            "width=32",
            "height=32",
            "duration_s=0.5",
            "steps=2",
        )
        digests.append(hashlib.sha256(out.read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]
