"""A page in a real browser, headless: what its document is after its script has run."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install -y chromium")


def document(page: str, folder: Path, fragment: str = "", wait_ms: int = 0) -> str:
    """The document of a page, opened from disk.

    Args:
        folder: for the page and the browser's profile.
        fragment: of its address, after #.
        wait_ms: of the browser's own time, for what goes on after the page is loaded.
    """
    path = folder / "page.html"
    path.write_text(page)
    command = [
        str(CHROMIUM),
        *_FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        *([f"--virtual-time-budget={wait_ms}"] if wait_ms else []),
        "--dump-dom",
        f"{path.as_uri()}#{fragment}",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=True).stdout


def driven(page: str, script: str) -> str:
    """The page with another script behind its own, which its policy would forbid."""
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page, count=1)
    assert open_page != page
    return open_page.replace("</body>", f"<script>{script}</script></body>", 1)
