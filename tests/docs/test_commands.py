"""README and docs against the program: every `rushes …` composes, the cheap commands of the tutorial run,
every link leads somewhere.

A line in a block of code that begins with `rushes`, also behind `$`, a path to it or variables, is a command;
a backslash at its end joins the next line. What stands for something else is substituted so:

- `<…>` and `…` within a value are the word `given`, which only a key of text or a job's folder can be;
- `…` alone, and `<job>`, stand for keys and a job that a reader adds, and are left out or `train`;
- everything else (`dataset=my/dataset`) is taken as it stands: composing opens nothing.

In running text a command between backquotes need not have all required keys: they are added.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.cli.compose import ConfigError, compose
from jobs.cli.fields import REQUIRED, keys
from jobs.cli.main import DONE, main
from jobs.cli.registry import JOBS, SUBMIT, job_named
from jobs.cli.sweep import combinations

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.md"
GIVEN = "given"

_COMMAND = re.compile(r"\s*(?:\$ )?(?:\w+=\S+ )*(?:\S*/)?rushes (?P<rest>.*)")
_INLINE = re.compile(r"(?<!`)`(?:\S*/)?rushes (?P<rest>[^`]+)`(?!`)")
_GENERAL = ("--help", "-h", "--version", "--completion")  # they need no job


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page, and whether it is in a block of code."""

    page: Path
    number: int
    text: str
    is_code: bool


@dataclass(frozen=True, slots=True)
class Command:
    """What is behind `rushes`, as a shell hands it over."""

    place: str
    arguments: tuple[str, ...]
    is_whole: bool

    def __str__(self) -> str:
        return f"{self.place}: rushes {shlex.join(self.arguments)}"


def lines(page: Path) -> Iterator[Line]:
    """Code is what is fenced, or indented by four after an empty line or code, but for lines of an item."""
    fenced, code, empty, item = False, False, True, False
    for number, text in enumerate(page.read_text().splitlines(), 1):
        if text.lstrip().startswith("```"):
            fenced, code = not fenced, False
            continue
        indented = text.startswith("    ")
        item = bool(re.match(r"\s*([-*]|\d+\.) ", text)) or (item and (not text or text.startswith("  ")))
        code = fenced or (indented and not item and (code or empty)) or (code and not text)
        empty = not text
        yield Line(page, number, text, code and bool(text))


def without_comment(text: str) -> str:
    """A line of shell up to a # that begins a word outside quotes."""
    quote = ""
    for at, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "#" and (at == 0 or text[at - 1].isspace()):
            return text[:at]
    return text


def arguments_of(text: str) -> tuple[str, ...]:
    """What a shell makes of it, with placeholders substituted; an unquoted pipe or redirection ends it."""
    text = re.sub(r"<job>", "train", without_comment(text))
    text = re.sub(r"<[^<>]*>", GIVEN, text)
    words = shlex.split(text)
    end = next((i for i, word in enumerate(words) if word in ("|", ">", "&&", ";", "→")), len(words))
    return tuple(word.replace("…", GIVEN) for word in words[:end] if word != "…")


def commands(page: Path) -> Iterator[Command]:
    """Those in blocks of code, whole, then those in running text."""
    prose: list[Line] = []
    held, start = "", 0
    for line in lines(page):
        if not line.is_code:
            prose.append(line)
            continue
        start = start if held else line.number
        held += line.text
        if held.endswith("\\"):
            held = held[:-1] + " "
            continue
        if found := _COMMAND.fullmatch(held):
            yield Command(f"{page.name}:{start}", arguments_of(found["rest"]), is_whole=True)
        held = ""
    text = "\n".join(line.text for line in prose)
    for found in _INLINE.finditer(text):
        number = prose[text.count("\n", 0, found.start())].number
        rest = found["rest"].replace("\\|", "|")
        yield Command(f"{page.name}:{number}", arguments_of(rest), is_whole=False)


def check(command: Command) -> None:
    """Compose it as the program does.

    Raises:
        ValueError: as a user would be told.
    """
    name, *rest = command.arguments
    if name in _GENERAL or command.arguments == (SUBMIT,):
        return
    if name == SUBMIT:
        name, *rest = rest
        address = [word for word in rest if word.startswith("ray.address=")]
        assert address, f"{SUBMIT} needs ray.address="
        rest = [word for word in rest if word not in address]
    job = job_named(name)
    if set(rest) & set(_GENERAL):
        return
    swept = bool(set(rest) & {"-m", "--multirun"})
    flags = [word for word in rest if word.startswith("-")]
    unknown = [word for word in flags if word not in ("-m", "--multirun", "--cfg")]
    assert not unknown, f"no such option: {unknown}"
    overrides = [word for word in rest if word not in flags and not ("--cfg" in flags and word == "job")]
    if not command.is_whole:
        overrides += required(job.config_class(), overrides)
    if not swept:
        compose(job, overrides)
        return
    runs = combinations(job, overrides)
    assert len(runs) > 1, "nothing is swept"
    for run in runs:
        compose(job, [argument for argument, _ in run])


def required(config: type, overrides: list[str]) -> list[str]:
    """Values for the required keys that are not given."""
    there = {word.partition("=")[0] for word in overrides}
    return [f"{k.path}={GIVEN}" for k in keys(config) if k.default == REQUIRED and k.path not in there]


ALL = [command for page in PAGES for command in commands(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_docs_composes(page):
    wrong = []
    for command in commands(page):
        try:
            check(command)
        except (ValueError, AssertionError) as error:
            wrong.append(f"{command}\n    {error}")
    assert not wrong, "\n".join(wrong)


def test_commands_are_found_in_blocks_and_in_text():
    whole = [command for command in ALL if command.is_whole]
    assert len(whole) > 80
    assert len(ALL) - len(whole) > 30
    jobs = {word for command in whole for word in command.arguments[:2] if word in JOBS}
    assert jobs == set(JOBS), f"no command shows {set(JOBS) - jobs}"
    joined = [c for c in whole if c.place.startswith("tutorial") and c.arguments[0] == "train"]
    assert any("checkpoint_every=100" in c.arguments for c in joined), "lines are joined over backslashes"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rushes trian dataset=d", "did you mean 'train'"),
        ("rushes train dataset=… out=o optm.lr=1", "did you mean 'optim.lr'"),
        ("rushes train dataset=… out=o experiment=demo", "experiment 'demo' is not known"),
        ("rushes train dataset=… out=o max_steps=many", "is not a whole number"),
        ("rushes train dataset=… out=o max_steps=…", "is not a whole number"),
        ("rushes train out=o", "train needs dataset=…"),
        ("rushes train -m dataset=… out=o zero.stage=1,7", "zero.stage=7"),
    ],
)
def test_a_wrong_command_would_be_found(line, said, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"Do this:\n\n    $ {line}   # as it's said\n")
    (command,) = commands(page)
    with pytest.raises((ConfigError, ValueError), match=re.escape(said)):
        check(command)


def test_placeholders_comments_and_joined_lines_are_read_as_a_reader_would(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nA=b .venv/bin/rushes curate footage=<folder | file> \\\n"
        "  dataset='a # b'   # it's here\n```\n"
        "- an item\n\n      rushes nonsense\n\nIn text `rushes select\ndataset=…`, and no `rushes: error`.\n"
    )
    first, second = commands(page)
    assert first.arguments == ("curate", "footage=given", "dataset=a # b")
    assert (second.arguments, second.is_whole) == (("select", "dataset=given"), False)


CHEAP = ("inspect", "clips", "passport", "export", "report", "select", "verify", "clean", "model")
# of the tutorial's footage: what lies in the dataset of the tests
_NAMES = {"source=bikes.mp4": "source=wide.mp4"}


@pytest.fixture
def in_a_folder_like_the_tutorials(tiny_run, tmp_path, monkeypatch):
    """`my/dataset` and `my/footage` as its steps find them."""
    footage = next(o for o in tiny_run.overrides if o.startswith("footage=")).partition("=")[2]
    shutil.copytree(tiny_run.out / "dataset", tmp_path / "my" / "dataset")
    shutil.copytree(footage, tmp_path / "my" / "footage")
    monkeypatch.chdir(tmp_path)


def test_the_cheap_commands_of_the_tutorial_run(in_a_folder_like_the_tutorials, capsys):
    run = [c for c in commands(TUTORIAL) if c.is_whole and c.arguments[0] in CHEAP]
    assert {c.arguments[0] for c in run} == set(CHEAP)
    for command in run:
        code = main([_NAMES.get(word, word) for word in command.arguments])
        assert code == DONE, f"{command}\n{capsys.readouterr().err}"
    assert Path("my/dataset/report.html").is_file()
    assert Path("my/bikes_at_2s.mp4").is_file()


_LINK = re.compile(r"!?\[(?:[^\]]|\](?!\())*\]\((?P<target>[^)\s]+)\)")
_OWN_ANCHOR = re.compile(r"<a\s+id=\"([^\"]+)\"")


def anchors(page: Path) -> set[str]:
    """Of headings, as GitHub makes them, and those that a page sets itself."""
    made: dict[str, int] = {}
    for line in lines(page):
        if not line.is_code and (heading := re.fullmatch(r"#+ (.*)", line.text)):
            slug = re.sub(r"[^\w\- ]", "", heading[1].strip().lower()).replace(" ", "-")
            made[slug] = made.get(slug, -1) + 1
    numbered = {slug if not i else f"{slug}-{i}" for slug, last in made.items() for i in range(last + 1)}
    return numbered | set(_OWN_ANCHOR.findall(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_to_a_file_and_a_heading(page):
    text = "\n".join("" if line.is_code else line.text for line in lines(page))
    broken = []
    for found in _LINK.finditer(text):
        target, _, anchor = found["target"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (page.parent / target).resolve() if target else page
        if not there.exists():
            broken.append(f"{found['target']}: no such file")
        elif anchor and anchor not in anchors(there):
            broken.append(f"{found['target']}: no such heading")
    assert not broken, "\n".join(broken)
