"""ONNX networks as meters run them: on one thread, silent, and safe to fork.

In: the path of a file. Out: a session; what its weights are, for fingerprints.
"""

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.ids import sha256_file

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions


def disable_telemetry() -> None:
    """Call before anything imports onnxruntime, which otherwise reports models and runs to its makers.

    That is against what people expect of their footage, and it starts a thread, which no process may have
    that forks. onnxruntime reads this once, as it is imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def single_thread_options() -> "SessionOptions":
    """Options of a session that computes in the thread that calls it."""
    disable_telemetry()
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return options


def session(path: Path) -> "InferenceSession":
    """The network of a file, on the processor."""
    options = single_thread_options()
    from onnxruntime import InferenceSession

    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@cache
def weights_hash(path: Path) -> str:
    """sha256 of a file of weights, read once per process."""
    return sha256_file(path)
