"""A template, styles and scripts → one HTML document that fetches nothing.

Pictures and videos in it are data URIs; style and script are inside and named by hash in a content security
policy that forbids everything else. The template escapes every value.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any


def document(template: str, styles: Sequence[str], scripts: Sequence[str], **values: Any) -> str:
    """The document.

    Args:
        template, styles, scripts: names of files beside this one.
        values: what the template draws.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    style, script = "".join(map(_read, styles)), "".join(map(_read, scripts))
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        style=style, script=script, policy=_policy(style, script), **values
    )


def _policy(style: str, script: str) -> str:
    """Nothing is fetched; only this style and this script count, whatever a caption may contain."""
    return (
        f"default-src 'none'; img-src data:; media-src data:; style-src-elem '{_hash(style)}'; "
        f"style-src-attr 'unsafe-inline'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return resources.files("jobs.reporting").joinpath(name).read_text(encoding="utf-8")
