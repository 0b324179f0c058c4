"""The command line of a benchmark: `name=value` for each of a few options."""

import sys
from collections.abc import Mapping


def given(defaults: Mapping[str, str]) -> dict[str, str]:
    """The options with what the command line says of them.

    Raises:
        SystemExit: it names one that is not known; the message lists those that are.
    """
    options = dict(defaults)
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        if name not in options:
            raise SystemExit(f"{argument}: known are {', '.join(options)}")
        options[name] = value
    return options
