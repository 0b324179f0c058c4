"""A browser plays a copied clip as its edit list says: from its own first frame, whatever leads up to it in the file."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.codecs import FPS, as_measured, render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FIRST, LAST = 21, 34

PAGE = """<!doctype html><title></title><video muted preload=auto src="data:video/mp4;base64,%s"></video><script>
const video = document.querySelector("video"), times = %s, shown = [];
const canvas = Object.assign(document.createElement("canvas"), {width: %d, height: %d});
// Decoding takes real time, and the page's time flies while it waits: work keeps it down until all is seen.
const work = setInterval(() => { for (let k = 0; k < 2e6; k++); }, 1);
const done = (what) => { clearInterval(work); document.title = JSON.stringify(what); };
const look = () => {
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  shown.push(Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data).filter((_, i) => i %% 4 < 3));
  if (shown.length < times.length) video.currentTime = times[shown.length];
  else done({shown});
};
video.onseeked = look;
video.onerror = () => done({error: video.error.message});
video.onloadeddata = () => { video.currentTime = times[0]; };
</script>"""


def seen(clip: Path, times: list[float], size: tuple[int, int], folder: Path) -> dict:
    """What a browser draws of a clip at some times, or its error."""
    page = folder / "page.html"
    page.write_text(PAGE % (base64.b64encode(clip.read_bytes()).decode(), json.dumps(times), *size))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
               f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    return json.loads(re.search(r"<title>(.*?)</title>", dom)[1])


@pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install -y chromium")
@pytest.mark.parametrize("name", ["h264", "vp9", "av1"])
def test_at_every_time_of_the_clip_its_own_frame_is_shown(tmp_path, name):
    source = as_measured(render(name, tmp_path))
    made = source.cut(tmp_path / "clip.mp4", FIRST, LAST)
    assert (made.method, made.lead_frames > 0) == ("copy", True)
    times = [float(when) + 0.5 / FPS for when in source.times(FIRST, LAST)]
    height, width = source.pixels.shape[1:3]
    got = seen(tmp_path / "clip.mp4", [times[0], times[5], times[-1]], (width, height), tmp_path)
    assert "error" not in got, got
    for shown, wanted in zip(got["shown"], (FIRST, FIRST + 5, LAST - 1), strict=True):
        # browsers convert colours in their own way: of all frames of the source it must be the nearest
        picture = np.array(shown).reshape(height, width, 3)
        assert np.abs(source.pixels.astype(int) - picture).mean(axis=(1, 2, 3)).argmin() == wanted
