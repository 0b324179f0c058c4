"""Removes credentials from text before it is printed or written.

In: messages of libraries, addresses, lines of a log. Out: text in which `***` stands for each key and
password: in an address before its host, in the signature of a signed address, in a header, in the name of an
AWS access key; and for each value that this process's environment has under a name that speaks of a secret,
wherever in a text it appears.
"""

from __future__ import annotations

import os
import re

_HIDDEN = "***"
_QUERY = (
    r"x-(?:amz|goog)-(?:signature|credential|security-token)|awsaccesskeyid|signature|sig|key-pair-id|policy"
    r"|(?:[a-z]+[_-])*(?:token|key|password|passwd|secret)"
)
# What stands before the host. AWS's secrets may hold a '/', so that after a ':' it is allowed, unless what
# follows is a port.
_USER = r"[^\s/?#@:\[\]'\"<>]*"
_PASSWORD = r":(?!\d{1,5}(?:[/?#\s'\"]|$))(?:[^\s/?#'\"<>]*(?=@)|[^\s@'\"<>]*)"
_PATTERNS = (
    (re.compile(rf"(?i)\b([a-z][a-z0-9+.-]*://){_USER}{_PASSWORD}@"), rf"\1{_HIDDEN}@"),
    (re.compile(rf"(?i)\b(https?://){_USER}@"), rf"\1{_HIDDEN}@"),  # a token alone
    (re.compile(rf"(?i)([?&;](?:{_QUERY})=)[^\s&;'\"<>#]+"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)\b((?:proxy-)?authorization\b['\"]?\s*[:=]\s*)[^\n]+"), rf"\1{_HIDDEN}"),
    (
        re.compile(r"(?i)\b((?:x-amz-security-token|x-api-key)\b['\"]?\s*[:=]\s*['\"]?)[^\s'\",]+"),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), _HIDDEN),
)
_SECRET_NAME = re.compile(r"(?i)secret|token|passw|credential|(?:api|access|private|account)_?key")
_NO_SECRET_NAME = re.compile(
    r"(?i)_(?:file|path|dir|fd|uri|url)$|^GOOGLE_APPLICATION_CREDENTIALS$|^TOKENIZERS_"
)
_SHORTEST = 8  # characters of a secret; shorter ones are words that appear anywhere


def redact(text: str) -> str:
    """The same text, with every key that is recognised replaced by `***`."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    for secret in _secrets():
        text = text.replace(secret, _HIDDEN)
    return text


def contains_secret(address: str) -> bool:
    """Whether a URL contains a credential. False for text that is not a URL."""
    return "://" in address and any(pattern.search(address) for pattern, _ in _PATTERNS)


def check_no_secret(what: str, address: str) -> None:
    """Reject a URL that contains a credential, which would end up in configs, logs and datasets.

    Args:
        what: the key or variable that it was given as.

    Raises:
        ValueError: it has one.
    """
    if contains_secret(address):
        raise ValueError(
            f"{what}={redact(address)} holds a key or password, which would be written down; leave it out "
            "of the address. Keys of S3 come from the environment or ~/.aws, and Ray's token from "
            "RAY_AUTH_TOKEN"
        )


def _secrets() -> list[str]:
    """Values of this process's environment that are secrets, the longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST and _SECRET_NAME.search(name) and not _NO_SECRET_NAME.search(name)
    }
    return sorted(found, key=len, reverse=True)
