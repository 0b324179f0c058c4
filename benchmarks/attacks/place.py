"""A place in which one attack is made: folders of its own, planted secrets, a victim, and the commands run
there.

In: words of a command line. Out: how it ended and what it said; and `harms`, everything that came about and
must not. All cases are judged alike, whatever they try:

    ran_code    a mark lies in `marks`, where only code of an attacker writes leaked      a planted secret
    stands in what was said or written, or was sent to `address` escaped     something in `victim` (or what
    `guard` names) was opened, made, changed or deleted; or `address` was asked hung        it was not done in
    its time
    tracebacks  it ended with a traceback, a signal, or an exit code that means nothing
    unmet       none of these, and something else that must hold did not
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from benchmarks.attacks import judging
from benchmarks.attacks.judging import ESCAPED, HUNG, LEAKED, RAN_CODE, TRACEBACK, UNMET, Harm
from benchmarks.attacks.material import Material
from benchmarks.attacks.opened import watched
from benchmarks.attacks.readers import BOMB_S, MOST_BYTES, READING_S, Reading

ROOT = Path(__file__).resolve().parent.parent.parent
NOBODY = 65534  # another user, on every Linux
_MARK = "RUSHES_ATTACK"
_USUAL_S = 120.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: `code` is None if it was ended for being late; `cpu_s` of it and all that it
    waited for."""

    code: int | None
    out: str
    err: str
    seconds: float
    cpu_s: float

    @property
    def said(self) -> str:
        return self.out + self.err


class Place:
    """For one attack.

    Args:
        folder: of its own, empty; short, as sockets may lie below it.
        address: that refuses and records in `asked` what is asked of it.
    """

    def __init__(self, folder: Path, name: str, material: Material, address: str, asked: list[bytes]):
        self.folder, self.name, self.material, self.address, self.asked = (
            folder,
            name,
            material,
            address,
            asked,
        )
        self.home, self.tmp, self.work, self.victim, self.marks = (
            folder / part for part in ("home", "tmp", "work", "victim", "marks")
        )
        self.cases: list[str] = []
        self.skipped: list[str] = []
        self.harms: list[Harm] = []
        self.commands = 0
        self._cases_of: dict[str, str] = {}
        self._known: set[tuple[Path, str]] = set()
        self._owners: dict[str, str] = {}
        self._undo: list[Callable[[], object]] = []
        self._token = secrets.token_hex(8)
        self._planted: list[Path] = [self.victim]
        self.secrets: dict[str, str] = {}
        for part in (self.home, self.tmp, self.work, self.victim, self.marks):
            part.mkdir(parents=True)
        self.environment = self._environment()
        self._plant()

    def case(self, name: str) -> str:
        """Begin a case; what is found from now on is put down to it, unless another is named. Returns its
        whole name."""
        whole = f"{self.name}/{name}"
        assert whole not in self.cases, f"two cases are called {whole}"
        self.cases.append(whole)
        return whole

    def skip(self, name: str, why: str) -> None:
        """A case that can't be tried here."""
        self.skipped.append(f"{self.name}/{name}: {why}")

    def harm(self, kind: str, how: str, case: str | None = None) -> None:
        """Put down a harm to a case, by default to that which was begun last."""
        assert kind in judging.KINDS, kind
        self.harms.append(Harm(case or (self.cases[-1] if self.cases else self.name), kind, how))

    def hold(self, claim: bool, how: str, case: str | None = None, kind: str = UNMET) -> None:
        """Put down a harm unless a claim holds."""
        if not claim:
            self.harm(kind, how, case)

    def owns(self, folder: Path, case: str | None = None) -> None:
        """What happens to a part of the victim's folder is put down to a case, whatever is tried together
        with it."""
        self._owners[str(folder)] = case or self.cases[-1]

    def _owner(self, line: str) -> str | None:
        path = line.partition("/")
        return next((case for at, case in self._owners.items() if f"/{path[2]}/".startswith(f"{at}/")), None)

    def secret(self, where: str, case: str | None = None) -> str:
        """A new secret, looked for in everything that is said and written from now on; whoever calls plants
        it.

        Args:
            case: that its leaks are put down to, whatever is tried then; without it to what is tried.
        """
        made = f"canary{secrets.token_hex(12)}"
        self.secrets[made] = where
        if case is not None:
            self._cases_of[where] = case
        return made

    def planted(self, path: Path) -> None:
        """Secrets stand in this file or folder because they were put there."""
        self._planted.append(path)

    def mark(self, case: str | None = None) -> Path:
        """The file that an attacker's code writes, if it runs, in a case."""
        return self.marks / (case or self.cases[-1]).replace("/", "@")

    def read(
        self, readings: Sequence[Reading], typed: str = "", most_cpu_s: float = BOMB_S, may_ask: bool = False
    ) -> None:
        """Have files read, each by the function that a command reads them with, in a process that is killed
        if it must be.

        An error that a command shows as one line is right, as is success; anything else is a harm of the
        reading's case.
        """
        plan, told = self.folder / "readings.json", self.folder / "told.json"
        plan.write_text(json.dumps([asdict(one) for one in readings]))
        limit_s = 60.0 + READING_S * len(readings)
        command = [sys.executable, "-m", "benchmarks.attacks.readers", str(plan), str(told)]
        self.run(command, typed=typed, limit_s=limit_s, may_ask=may_ask)
        lines = told.read_text().splitlines() if told.exists() else []
        ends = {end["case"]: end for end in map(json.loads, lines)}
        for path in (plan, told):
            path.unlink(missing_ok=True)
        for one in readings:
            if (end := ends.get(one.case)) is None:
                self.harm(UNMET, "its reading was not tried", one.case)
                continue
            self._judge_reading(one, end, most_cpu_s)

    def _judge_reading(self, one: Reading, end: Mapping[str, Any], most_cpu_s: float) -> None:
        how = f"{one.what} of {Path(one.where).name}: {end['kind']} {end['type']} {end['message']}"[:300]
        if end["late"] or end["cpu_s"] > most_cpu_s:
            self.harm(HUNG, f"{how}: {end['cpu_s']:.1f} s of processors, {end['seconds']:.1f} s", one.case)
        elif end["signal"]:
            self.harm(TRACEBACK, f"{how}: ended by signal {end['signal']}", one.case)
        elif end["kind"] == "other":
            self.harm(UNMET, f"{how}: not an error in a line", one.case)
        if end["peak_bytes"] > MOST_BYTES:
            self.harm(UNMET, f"{how}: {end['peak_bytes'] >> 20} MiB", one.case)

    def rushes(self, *words: str, **how: object) -> Done:
        """Run a command as its user would type it. Keywords as of `run`."""
        return self.run([sys.executable, "-m", "jobs.cli.main", *words], **how)  # type: ignore[arg-type]

    def run(
        self,
        command: Sequence[str],
        *,
        case: str | None = None,
        limit_s: float = _USUAL_S,
        cpu_s: float | None = None,
        env: Mapping[str, str | None] = {},
        typed: str = "",
        user: int | None = None,
        guard: Sequence[Path] | None = None,
        meanwhile: Callable[[int], None] | None = None,
        may_fail: bool = False,
        may_ask: bool = False,
        may_list: bool = False,
        most_addresses: int | None = None,
    ) -> Done:
        """Run any command here, and judge it.

        Args:
            limit_s: who takes longer hangs; `cpu_s`: who uses more of processors does as well.
            env: variables besides the usual ones; None takes one away.
            typed: what stands on its standard input.
            user: whose rights it has; by default ours.
            guard: folders in which it may open and change nothing, the victim's by default.
            meanwhile: called with its process id once it runs.
            may_fail: it is no command of ours, so its exit code says nothing.
            may_ask: its user has named an address himself, so that it is asked is right.
            may_list: folders may be looked into, as those of footage are behind links; files may not.
            most_addresses: bytes of addresses that each of its processes may have, so that a bomb ends before
            the machine does.
        """
        self.commands += 1
        guard = [self.victim] if guard is None else guard
        variables = {**self.environment, **env}
        if most_addresses is not None:
            command = ["prlimit", f"--as={most_addresses}", *command]
        if user is not None:
            command = as_user(user, command, self.folder / "python")
            self._hand_over(user)
        with ExitStack() as stack:
            before = {folder: judging.snapshot(folder) for folder in guard}
            seen = stack.enter_context(watched(guard))
            done = self._run(
                command, {k: v for k, v in variables.items() if v is not None}, typed, limit_s, meanwhile
            )
            stack.close()
            self._judge(done, [*command], case, limit_s, cpu_s, may_fail)
            lines = [line for line in seen if not (line.startswith("read ") and f"opened {line[5:]}" in seen)]
            if may_list:
                lines = [line for line in lines if not Path(line.partition(" ")[2]).is_dir()]
            for folder in guard:
                lines += judging.changes(before[folder], judging.snapshot(folder))
            for line in dict.fromkeys(lines):
                self.harm(ESCAPED, line, self._owner(line) or case)
        self._judge_files(case, may_ask)
        return done

    def close(self) -> None:
        """Undo what a folder can't be deleted with: rights that are missing, and what was mounted."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def at_end(self, undo: Callable[[], object]) -> None:
        """Have something undone when the attack is over."""
        self._undo.append(undo)

    def _judge(
        self,
        done: Done,
        command: list[str],
        case: str | None,
        limit_s: float,
        cpu_s: float | None,
        may_fail: bool,
    ) -> None:
        what = " ".join(
            command[command.index("jobs.cli.main") + 1 :] if "jobs.cli.main" in command else command
        )[-160:]
        if done.code is None:
            self.harm(HUNG, f"not done in {limit_s:g} s: {what!a}", case)
        elif cpu_s is not None and done.cpu_s > cpu_s:
            self.harm(HUNG, f"{done.cpu_s:.1f} s of processors, not {cpu_s:.1f} s: {what!a}", case)
        if bad := None if may_fail else judging.ends_badly(done.code, done.said):
            self.harm(TRACEBACK, f"{bad}: {what!a}: {judging.last_line(done.said)}", case)
        for where in judging.told(done.said.encode(errors="surrogateescape"), self.secrets):
            self.harm(LEAKED, f"{where} is told on the console: {what!a}", self._cases_of.get(where, case))
        if controls := judging.raw_controls(done.said):
            self.harm(UNMET, f"raw {', '.join(controls)} on the console: {what!a}", case)

    def _judge_files(self, case: str | None, may_ask: bool) -> None:
        for mark in sorted(self.marks.iterdir()):
            named = mark.name.replace("@", "/")
            self.harm(RAN_CODE, f"code of {named} ran", named if named in self.cases else case)
            mark.unlink()
        for request in self.asked:
            if not may_ask:
                first = request.splitlines()[0].decode(errors="replace")
                self.harm(ESCAPED, f"an address was asked: {first}", case)
            # A token of a session is shown with every request; a key never is.
            shown = b"\n".join(
                line for line in request.splitlines() if not line.lower().startswith(b"x-amz-security-token")
            )
            for where in judging.told(shown, self.secrets):
                self.harm(LEAKED, f"{where} was sent away", self._cases_of.get(where, case))
        self.asked.clear()
        for path, where in judging.holders(self.folder, self.secrets, self._planted):
            if (path, where) not in self._known:  # else who wrote it has been told
                self._known.add((path, where))
                self.harm(
                    LEAKED,
                    f"{where} stands in {path.relative_to(self.folder)}",
                    self._cases_of.get(where, case),
                )

    def _run(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        typed: str,
        limit_s: float,
        meanwhile: Callable[[int], None] | None,
    ) -> Done:
        out, err, given = (self.folder / name for name in ("out", "err", "given"))
        given.write_text(typed)
        started = monotonic()
        with out.open("wb") as to, err.open("wb") as errors, given.open("rb") as source:
            process = subprocess.Popen(
                command,
                cwd=self.work,
                env=env,
                stdin=source,
                stdout=to,
                stderr=errors,
                start_new_session=True,
            )
            try:
                if meanwhile is not None:
                    meanwhile(process.pid)
                code, cpu_s = _ended(process, limit_s)
            finally:
                self._end_all(process)
        seconds = monotonic() - started
        texts = [path.read_bytes().decode(errors="surrogateescape") for path in (out, err)]
        for path in (out, err, given):
            path.unlink()
        return Done(code, *texts, seconds, cpu_s)

    def _end_all(self, process: subprocess.Popen[bytes]) -> None:
        """The process, what it started, and what of that has lost its parent: known by a mark in the
        environment."""
        doomed = set()
        for one in psutil.process_iter():
            try:
                # Its number may be another's once it has been waited for.
                its = one.pid == process.pid and process.returncode is None
                if its or one.environ().get(_MARK) == self._token:
                    doomed |= {one, *one.children(recursive=True)}
            except psutil.Error:  # another's, or it has ended
                continue
        for one in doomed:
            try:
                one.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        psutil.wait_procs(doomed, timeout=10)
        process.poll()

    def _environment(self) -> dict[str, str | None]:
        kept = {
            name: os.environ[name] for name in ("PATH", "LANG", "TORCH_EXTENSIONS_DIR") if name in os.environ
        }
        return {
            **kept,
            _MARK: self._token,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "AWS_ENDPOINT_URL": self.address,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.address,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIAATTACK",
            "RAY_USAGE_STATS_REPORT_URL": self.address,
        }

    def _plant(self) -> None:
        for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "OPENAI_API_KEY"):
            self.environment[name] = self.secret(f"the environment's {name}")
        keys = self.home / ".aws" / "credentials"
        keys.parent.mkdir()
        keys.write_text(
            f"[default]\naws_access_key_id=AKIAATTACK\naws_secret_access_key={self.secret('~/.aws/credentials')}\n"
        )
        self.planted(keys)
        (self.victim / "deep").mkdir()
        (self.victim / "secret.txt").write_text(f"{self.secret('a text of the victim')}\n")
        (self.victim / "deep" / "notes.json").write_text(
            f'{{"note": "{self.secret("a JSON of the victim")}"}}\n'
        )
        (self.victim / "film.mp4").write_bytes(self.material.film.read_bytes())

    def _hand_over(self, user: int) -> None:
        for part in (self.home, self.tmp, self.work, self.marks):
            for path in (part, *judging.walk(part)):
                os.lchown(path, user, user)
        for parent in (self.folder, self.folder.parent):  # to go through, not to look into
            parent.chmod(parent.stat().st_mode | 0o011)


def as_user(user: int, command: Sequence[str], folder: Path) -> list[str]:
    """A command with the rights of another user, for root to run.

    Where this Python lies in a folder that only root may enter, it is shown at the same place in an open one,
    in a mount namespace of the command's own: else the user could not even start a child.

    Args:
        folder: for that; it is made.
    """
    plain = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
    base = Path(sys.base_prefix).resolve()
    closed = next((path for path in reversed(base.parents) if not path.stat().st_mode & 0o001), None)
    if closed is None:
        return plain
    folder.mkdir(exist_ok=True)
    shown = (
        'mount --bind "$1" "$2" && mount -t tmpfs -o mode=755 none "$3" && mkdir -p "$1" && mount --bind '
        '"$2" "$1" && shift 3 && exec "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", shown, "sh", str(base), str(folder), str(closed), *plain]


def _ended(process: subprocess.Popen[bytes], limit_s: float) -> tuple[int | None, float]:
    """The exit code, None if it was not done in time, and seconds of processors."""
    until = monotonic() + limit_s
    pidfd = os.pidfd_open(process.pid)
    try:
        ready, _, _ = select.select([pidfd], [], [], max(0.0, until - monotonic()))
        if not ready:
            return None, 0.0
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, usage.ru_utime + usage.ru_stime
    finally:
        os.close(pidfd)
