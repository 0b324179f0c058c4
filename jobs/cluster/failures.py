"""What went wrong on a Ray worker, in one line, and whether trying again could help.

In: an exception that Ray passed on, with the traceback in its message. Out: the original error's message in
one line. The full traceback goes to the run's log.
"""

from __future__ import annotations

import errno

# Errors of the code or of what it was given: the same again would end the same way. What may pass is
# everything else: a worker that died, a connection that broke, a collective that timed out.
_LASTING = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    EOFError,
)
_LASTING_FILES = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
_LASTING_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
# Of libraries that need not be imported: torch's of a GPU's memory, and whatever safetensors can't read or
# write.
_LASTING_NAMES = ("OutOfMemoryError", "SafetensorError")


def cause_of(error: BaseException) -> BaseException:
    """The exception that a worker's code raised, out of the wrappings that Ray puts around it."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "_base_exc", None) or _wrapped(error)
        if inner is None:
            return error
        error = inner
    return error


def _wrapped(error: BaseException) -> BaseException | None:
    module = type(error).__module__
    ours = not module.startswith("ray.") and not _is_task_error(error)
    if ours:
        return None
    inner = getattr(error, "cause", None)
    if not isinstance(inner, BaseException):
        inner = error.__cause__
    return inner if isinstance(inner, BaseException) else None


def _is_task_error(error: BaseException) -> bool:
    """Ray makes a class of its own of an error and the one it came from, in no module of Ray's."""
    return any(base.__name__ == "RayTaskError" for base in type(error).__mro__)


def one_line_message(error: BaseException) -> str:
    """What a person is told, without traceback, in one line."""
    cause = cause_of(error)
    opaque = isinstance(cause, KeyError | AssertionError | TypeError | AttributeError)
    return with_type(cause) if opaque else first_line(cause) or type(cause).__name__


def with_type(error: BaseException) -> str:
    """The same, with the kind of error before it."""
    cause = cause_of(error)
    return ": ".join(part for part in (type(cause).__name__, first_line(cause)) if part)


def first_line(error: BaseException) -> str:
    """The first line of a message that says anything; empty if none does."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def is_permanent(error: BaseException) -> bool:
    """Whether the error is permanent, so that a retry would fail again."""
    cause = cause_of(error)
    if isinstance(cause, OSError):
        return isinstance(cause, _LASTING_FILES) or cause.errno in _LASTING_ERRNO
    return isinstance(cause, _LASTING) or type(cause).__name__ in _LASTING_NAMES
