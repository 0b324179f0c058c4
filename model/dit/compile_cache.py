"""A private cache folder for torch.compile, to which no other user can write.

In: nothing. Out: TORCHINDUCTOR_CACHE_DIR in this process's environment, before anything is compiled. torch's
own choice is a folder in /tmp by the user's name, which whoever comes first makes, and whose code it runs.
"""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def use_private_compile_cache() -> Path:
    """The folder: the one that the environment names, or ours in TMPDIR; a new one each time if that is not
    ours alone."""
    if _VARIABLE not in os.environ:
        folder = Path(tempfile.gettempdir()) / f"rushes-compiled-{os.getuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        about = folder.lstat()
        ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o077
        os.environ[_VARIABLE] = str(folder) if ours else tempfile.mkdtemp(prefix="rushes-compiled-")
    return Path(os.environ[_VARIABLE])
