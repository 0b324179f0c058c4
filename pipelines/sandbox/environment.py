"""The environment of the servers that fork children: how libraries compute and where they lie, and no key.

In: this process's environment. Out: a server's.
"""

import os
import sys

_SILENT = {"ORT_DISABLE_TELEMETRY": "1"}  # ONNX Runtime reports to its makers otherwise, from a thread
# Arrow's own allocator takes a gibibyte of addresses at its first byte, which counts as memory that a call
# uses.
_PLAIN_MEMORY = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
# What a server is told of its environment: where libraries and the models that they keep lie, and how they
# compute. Nothing that is not in here gets there, for among the rest are keys.
_PASSED = frozenset((
    "PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ", "LD_PRELOAD", "GLIBC_TUNABLES",
    "CUDA_VISIBLE_DEVICES",
    "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUSERBASE",
    "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME",
))  # fmt: skip
_PASSED_KINDS = (
    "LC_", "OMP_", "OPENBLAS_", "MKL_", "KMP_", "GOMP_", "DNNL_", "ONEDNN_", "ATEN_", "NPY_", "OPENCV_",
    "ARROW_", "MALLOC_",
    "DECORD_",
)  # fmt: skip
# It has no network to ask a hub over, and must not hold the token that a hub's library reads from the home
# folder.
_NO_HUB = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def environment() -> dict[str, str]:
    """Of a server."""
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if name in _PASSED or name.startswith(_PASSED_KINDS)
        },
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        **_SILENT,
        **_PLAIN_MEMORY,
        **_NO_HUB,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        # OpenCV leaves an empty entry there: libraries would be looked for in the working folder, maybe
        # footage.
        "LD_LIBRARY_PATH": os.pathsep.join(
            filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
        ),
    }
