"""The generator: hostile names, paths, addresses, links, kinds of files, and numbers, all drawn from one
seeded generator.

In: a random generator, and what the attack may point to. Out: values with a name each, for cases; or things
made on disk. Nothing here points outside of the folders that it is given, but to devices that are only read.
"""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from urllib.parse import quote

CONTROLS = {
    "title": "\x1b]0;OWNED\x07", "clear": "\x1b[2J\x1b[H", "colour": "\x1b[31mred\x1b[0m", "bell": "\x07",
    "back": "ab\b\bxy",
    "return": "good\rbad", "c1": "\x9b2J", "c1_osc": "\x9d0;x\x9c", "rlo": "\u202egpj.4pm",
    "isolate": "\u2066x\u2069", "del": "a\x7fb",
    "link": "\x1b]8;;http://x/\x1b\\here\x1b]8;;\x1b\\", "paste": "\x1b[200~rm -rf\n\x1b[201~",
    "nel": "a\x85b", "ls": "a\u2028b",
    "newline": "a\nrushes: all is well", "tabs": "a\tb", "vt": "a\x0bb", "form": "a\x0cb",
    "report": "\x1b[6n", "screen": "\x1bP+q\x1b\\",
}  # fmt: skip
"""What a terminal would obey, by what it does."""


def hostile_text(draw: Random) -> str:
    """A text of some control sequences with letters between."""
    some = draw.sample(sorted(CONTROLS), draw.randint(2, 5))
    return "".join(CONTROLS[name] + draw.choice("abcxyz") for name in some)


def paths_to(target: Path, seen_from: Path, draw: Random) -> dict[str, str]:
    """Ways to write the path of a file, as a list or a manifest may have it."""
    relative = os.path.relpath(target, seen_from)
    up = "../" * 40 + str(target).lstrip("/")
    dots = "/".join(part for name in str(target).split("/")[1:] for part in (draw.choice((".", "")), name))
    turned = f"{seen_from}/{'x/../' * draw.randint(1, 20)}{relative}"
    return {
        "absolute": str(target),
        "relative": relative,
        "up": up,
        "dots": f"/{dots}",
        "turned": turned,
        "file_uri": f"file://{target}",
        "file_host": f"file://localhost{target}",
        "percent": f"file://{quote(str(target), safe='')}",
        "percent_twice": f"file://{quote(quote(str(target)))}",
        "percent_dots": f"file://{seen_from}/%2e%2e/{quote(str(target.relative_to(seen_from.parent)))}"
        if seen_from.parent in target.parents
        else f"file:///%2e%2e{target}",
        "backslash": relative.replace("/", "\\"),
        "fullwidth": relative.replace("..", "．．"),
        "slash_like": str(target).replace("/", "∕"),
        "proc_cwd": f"/proc/self/root{target}",
        "double_slash": "/" + str(target),
        "space": f" {target} ",
    }


def no_paths(draw: Random) -> dict[str, str]:
    """What is no path of a file that one may open, and must end as a row or a line."""
    return {
        "nul": "/tmp/a\0b.mp4",
        "newline": "a\nb.mp4",
        "long_name": f"/{'x' * draw.randint(256, 6000)}.mp4",
        "long_path": "/" + "y/" * draw.randint(2100, 5000) + "z.mp4",
        "no_user": "~nosuchuser/x.mp4",
        "tilde": "~/../../etc/passwd",
        "surrogate": "caf\udce9.mp4",
        "environ": "/proc/self/environ",
        "mem": "/proc/self/mem",
        "kcore_like": "/proc/self/pagemap",
        "fd": f"/proc/self/fd/{draw.randint(0, 9)}",
        "zero": "/dev/zero",
        "full": "/dev/full",
        "null": "/dev/null",
        "random": draw.choice(("/dev/random", "/dev/urandom")),
        "tty": "/dev/tty",
        "stdin": "/dev/stdin",
        "folder": "/tmp",
        "root": "/",
        "empty_bucket": "s3://",
        "bucket_dots": "s3://../x.mp4",
        "other_scheme": draw.choice(
            ("gopher", "ftp", "javascript", "data", "smb", "concat", "subfile", "crypto")
        )
        + "://x/y.mp4",
        "metadata": "http://169.254.169.254/latest/meta-data",
        "pipe": "pipe:0",
        "braces": "{a,b}" * 8 + ".mp4",
        "stars": "**/" * draw.randint(8, 40) + "*.mp4",
        "lookalike": "/tmp/ｅｔｃ/pаsswd.mp4",
        "windows": "C:\\Windows\\win.ini",
        "query": "/tmp/x.mp4?y=1#z",
    }


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            # the whole path may be longer than a socket's may be
            server.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _device(name: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(f"/dev/{name}")


def _node(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # another /dev/zero


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _chain(path: Path) -> None:
    for number in range(60):  # the kernel follows 40
        path.with_name(f"{path.name}.{number}").symlink_to(f"{path.name}.{number + 1}")
    path.symlink_to(f"{path.name}.0")


def _forbidden(path: Path) -> None:
    path.write_bytes(b"\0" * 64)
    path.chmod(0)


ODD_FILES: dict[str, Callable[[Path], None]] = {
    "fifo": _fifo,
    "socket": _socket,
    "to_zero": _device("zero"),
    "to_random": _device("urandom"),
    "to_full": _device("full"),
    "to_stdin": lambda path: path.symlink_to("/proc/self/fd/0"),
    "to_environ": lambda path: path.symlink_to("/proc/self/environ"),
    "to_mem": lambda path: path.symlink_to("/proc/self/mem"),
    "folder": lambda path: path.mkdir(),
    "sparse": _sparse,
    "loop": _loop,
    "chain": _chain,
    "dangling": lambda path: path.symlink_to("nowhere/at all.mp4"),
    "empty": lambda path: path.write_bytes(b""),  # type: ignore[arg-type,return-value]
    "to_fifo": lambda path: (
        os.mkfifo(path.with_name(f"{path.name}.pipe")),
        path.symlink_to(f"{path.name}.pipe"),
    )[1],
    "unreadable": _forbidden,
}
"""Things that are no film, by what they are; each is made at a path."""
if os.geteuid() == 0:
    ODD_FILES["device"] = _node


def links(at: Path, target: Path, draw: Random) -> dict[str, Callable[[], None]]:
    """Ways in which `at` can be a link to a folder or file elsewhere; each makes it when it is called."""
    hops = [at.with_name(f".hop{n}-{draw.randrange(1 << 30)}") for n in range(draw.randint(2, 5))]

    def chain() -> None:
        for here, there in zip([at, *hops], [*hops, target], strict=True):
            here.symlink_to(there)

    return {
        "absolute": lambda: at.symlink_to(target),
        "relative": lambda: at.symlink_to(os.path.relpath(target, at.parent)),
        "chain": chain,
        "by_proc": lambda: at.symlink_to(f"/proc/self/root{target}"),
    }


def nested(depth: int, kind: str) -> str:
    """JSON of so many levels: arrays, objects, both, or never closed."""
    if kind == "arrays":
        return "[" * depth + "]" * depth
    if kind == "objects":
        return '{"a":' * depth + "1" + "}" * depth
    if kind == "both":
        return '[{"a":' * (depth // 2) + "1" + "}]" * (depth // 2)
    assert kind == "open", kind
    return "[" * depth


def nestings(draw: Random) -> Iterator[tuple[str, str]]:
    """JSON texts, each with a name: from a thousand levels to a million."""
    for exponent in (3, 4, 5, 6):
        for kind in ("arrays", "objects", "both", "open"):
            yield f"{kind}_1e{exponent}", nested(10**exponent + draw.randint(0, 99), kind)
