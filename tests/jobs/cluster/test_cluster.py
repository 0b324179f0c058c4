"""A job on a cluster that is there already: by ray.address, and submitted as a Ray job."""

import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.support.footage import pan, write


def rushes(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_job_runs_on_the_cluster_at_ray_address(shared_ray, tmp_path):
    write(tmp_path / "footage.mp4", pan(1, 24, 48, 64), fps=16)
    done = rushes(
        "curate", f"footage={tmp_path / 'footage.mp4'}", f"dataset={tmp_path / 'dataset'}",
        "recipe=permissive", "recipe.min.duration_s=0.5",
        f"ray.address={shared_ray.address}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kept 1" in done.stdout


def test_a_cluster_that_is_not_there_is_said_to_be_missing(tmp_path):
    write(tmp_path / "footage.mp4", pan(1, 8, 48, 64), fps=16)
    done = rushes(
        "submit",
        "curate",
        f"footage={tmp_path}",
        f"dataset={tmp_path / 'd'}",
        "ray.address=http://127.0.0.1:9",
    )
    assert done.returncode == 2
    assert "ray.address=http://127.0.0.1:9: no Ray dashboard answers there" in done.stderr


def test_a_submitted_job_is_followed_to_its_end_and_submitted_once(shared_ray, tiny_run):
    command = [
        "submit",
        "inspect",
        f"dataset={tiny_run.out / 'dataset'}",
        "format=json",
        f"ray.address={shared_ray.dashboard}",
    ]
    first = rushes(*command)
    assert first.returncode == 0, first.stderr + first.stdout
    assert '"clips_kept": 3' in first.stdout
    assert "SUCCEEDED" in first.stdout
    again = rushes(*command)
    assert again.returncode == 0
    assert "is there already" in again.stdout


def test_a_submitted_job_that_fails_exits_with_1(shared_ray, tmp_path):
    done = rushes("submit", "inspect", f"dataset={tmp_path / 'none'}", f"ray.address={shared_ray.dashboard}")
    assert done.returncode == 1
    assert "no dataset is there" in done.stdout
    assert "FAILED" in done.stdout


class _NoWebsockets(BaseHTTPRequestHandler):
    """A proxy before a dashboard, of the kind that passes requests and refuses websockets."""

    dashboard, closed, submitted = "", False, False

    def _pass_on(self) -> None:
        if self.headers.get("Upgrade") or (self.closed and self.submitted):
            self.send_error(403)
            return
        type(self).submitted |= self.command == "POST" and self.path == "/api/jobs/"
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        kept = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        asked = urllib.request.Request(self.dashboard + self.path, body, kept, method=self.command)
        try:
            answer = urllib.request.urlopen(asked, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        said = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_log_that_can_not_be_followed_is_shown_at_the_end(shared_ray, tiny_run, tmp_path):
    handler = type("Handler", (_NoWebsockets,), {"dashboard": shared_ray.dashboard})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        dataset = shutil.copytree(tiny_run.out / "dataset", tmp_path / "dataset")
        done = rushes(
            "submit", "inspect", f"dataset={dataset}", f"ray.address=http://127.0.0.1:{proxy.server_port}"
        )
        proxy.shutdown()
    assert (done.returncode, done.stderr) == (0, "")
    assert "the log can't be followed (403" in done.stdout
    assert "SUCCEEDED" in done.stdout
    assert "clips        3.0 s" in done.stdout


def test_a_dashboard_that_answers_nothing_more_is_one_line(shared_ray, tmp_path):
    handler = type("Handler", (_NoWebsockets,), {"dashboard": shared_ray.dashboard, "closed": True})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{proxy.server_port}"
        done = rushes(
            "submit", "inspect", f"dataset={tmp_path / 'none'}", "format=json", f"ray.address={address}"
        )
        proxy.shutdown()
    assert done.returncode == 1
    assert done.stderr.startswith("rushes: submit failed: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
