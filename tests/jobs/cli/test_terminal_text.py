"""What others named is shown, and obeyed by no terminal: on the console, in tables and progress, in logs, in
any encoding."""

import io
import json
import logging
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli.compose import compose
from jobs.cli.registry import JOBS
from jobs.cli.run_folder import open_run
from jobs.cli.terminal_text import LogFormatter, dump_escaped_json, escape_line, escape_lines

HOSTILE = "a\x1b]0;title\x07\x1b[2J\r\x9b31m\x7f\u202egpj.\u2066\u2028\u200b\ufeff\udcff"
OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
TEXTS = st.text(st.characters(), max_size=40) | st.text(HOSTILE + "ab\n\t\u200c\u200dé", max_size=20)


def hidden(text: str) -> list[str]:
    """Characters that a terminal would obey or hide, but joiners within a word of another script."""
    return [c for c in text if unicodedata.category(c) in OBEYED and c not in "\u200c\u200d"]


@given(TEXTS)
@settings(deadline=None)
def test_nothing_is_left_that_a_terminal_obeys_and_what_is_shown_is_shown_the_same_again(text):
    assert hidden(escape_line(text)) == []
    assert set(hidden(escape_lines(text))) <= {"\n", "\t"}
    assert escape_line(escape_line(text)) == escape_line(text)
    if not hidden(text) and text.isascii():
        assert escape_line(text) == text


@given(TEXTS)
@settings(deadline=None)
def test_json_that_is_shown_has_the_same_values(text):
    line = dump_escaped_json({text: [text]})
    assert hidden(line) == []
    assert json.loads(line) == {text: [text]}


def test_joiners_stay_where_they_are_a_part_of_a_word():
    assert escape_line("می‌خواهم 👩‍👧 a\u200db") == "می‌خواهم 👩‍👧 a\\u200db"


def rushes(*arguments: str, **environ: str) -> subprocess.CompletedProcess:
    import os

    command = [sys.executable, "-m", "jobs.cli.main", *arguments]
    return subprocess.run(
        command, capture_output=True, timeout=60, check=False, env={**os.environ, **environ}
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", f"dataset={HOSTILE}"),
        ("curate", f"footage={HOSTILE}", "dataset=d"),
        ("inspect", f"data{HOSTILE}set=x"),
        (HOSTILE,),
        ("inspect", f"--{HOSTILE}"),
        ("train", "dataset=d", "out=o", f"seed={HOSTILE}"),
        ("train", "dataset=d", "out=o", f"experiment={HOSTILE}"),
        ("generate", "checkpoint=c", "out=o.mp4", f"prompt={HOSTILE}", "--cfg"),
        ("--completion", HOSTILE),
        ("submit", "inspect", "dataset=d", f"ray.address=http://{HOSTILE}"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_was_typed_comes_back_without_commands_in_whatever_encoding(arguments, encoding):
    done = rushes(*arguments, PYTHONIOENCODING=encoding)
    said = (done.stdout + done.stderr).decode(encoding)
    assert done.returncode == (0 if "--cfg" in arguments else 2)
    assert set(hidden(said)) == {"\n"}
    assert "Traceback" not in said
    assert "title" in said


def test_a_configuration_with_such_text_reads_back_as_it_was_typed():
    import yaml

    composed = compose(JOBS["generate"], ["checkpoint=c", "out=o.mp4", f"prompt={HOSTILE}é"])
    assert set(hidden(composed.yaml)) == {"\n"}
    assert yaml.safe_load(composed.yaml)["prompt"] == f"{HOSTILE}é" == composed.cfg.prompt


def test_a_log_has_no_commands_no_keys_and_no_records_that_nobody_wrote(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-this-test")
    formatter = LogFormatter()
    name = f"x{HOSTILE}\n2026-12-01 00:00:00,000 ERROR rushes: forged canary-of-this-test"
    try:
        raise ValueError(name)
    except ValueError:
        record = logging.LogRecord("rushes", logging.INFO, "", 0, "read %s", (name,), sys.exc_info())
    text = formatter.format(record)
    assert set(hidden(text)) == {"\n"}
    assert "canary" not in text
    first, *others = text.split("\n")
    assert first.startswith("20")
    assert others
    assert all(line.startswith("  ") for line in others)


def test_a_run_says_and_logs_in_one_line(tmp_path, capsys):
    with open_run("curate", tmp_path / "run", "") as run:
        run.say(f"one\ntwo {HOSTILE} [red]three[/red]")
        logging.getLogger("rushes").warning("of %s", HOSTILE)
    said, log = capsys.readouterr().out, run.log.read_text(encoding="utf-8")
    assert hidden(said[:-1]) == []
    assert said.startswith("one\\ntwo a\\x1b]0;title\\x07")
    assert said.endswith("[red]three[/red]\n")
    assert set(hidden(log)) == {"\n"}
    assert [line.split(": ")[0].split()[-1] for line in log.splitlines() if not line.startswith("  ")] == [
        "rushes.curate",
        "rushes",
    ]


def test_a_bar_on_a_terminal_shows_notes_as_they_are(monkeypatch):
    """It draws with commands of its own; what it was given adds none, and is no markup."""
    from jobs.cli.progress import progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    drawn = Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with progress("hashing", 2, "files") as bar:
        bar.advance(note=f"{HOSTILE} [link=http://x]y[/link]")
        print(f"meanwhile {HOSTILE}")
    text = drawn.getvalue()
    assert "a\\x1b]0;title\\x07\\x1b[2J" in text
    assert "[link=http://x]y[/link]" in text
    assert "\x07" not in text
    assert "\x1b]" not in text
    assert "\u202e" not in text
