"""How the workers of a training find each other: on a Ray of one machine alone through a file, and they speak
over loopback.

In: the backend of their collectives. Out: what Ray Train is told. PyTorch's own rendezvous is a server that
listens on all interfaces and asks nobody who they are; what it is told decides whom the workers connect to.
On a cluster it is used all the same: that network is taken to be the cluster's own.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train.backend import BackendConfig
from ray.train.torch import TorchConfig
from ray.train.torch import config as ray_torch

_LOOPBACK = "127.0.0.1"


def torch_config(backend: str) -> TorchConfig:
    """The TorchConfig for a backend, `gloo` or `nccl`, on the connected Ray."""
    alone = ray.util.get_node_ip_address() == _LOOPBACK  # no second machine can join it
    return _AloneConfig(backend=backend) if alone else TorchConfig(backend=backend)


@dataclass
class _AloneConfig(TorchConfig):
    @property
    def backend_cls(self) -> type:
        return _AloneBackend


class _AloneBackend(ray_torch._TorchBackend):
    """Ray Train's way to a process group, but for the rendezvous."""

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Called by Ray Train when the workers are there."""
        assert isinstance(backend_config, TorchConfig)
        file = Path(_node().get_session_dir_path()) / f"rendezvous-{secrets.token_hex(8)}"
        worker_group.execute(ray_torch._set_torch_distributed_env_vars)
        worker_group.execute(_speak_over_loopback)
        ray.get(
            [
                worker_group.execute_single_async(
                    rank,
                    ray_torch._setup_torch_process_group,
                    backend=backend_config.backend,
                    world_rank=rank,
                    world_size=len(worker_group),
                    init_method=f"file://{file}",
                    timeout_s=backend_config.timeout_s,
                )
                for rank in range(len(worker_group))
            ]
        )


def _node() -> Any:
    """Ray's own record of this machine."""
    return ray._private.worker._global_node


def _speak_over_loopback() -> None:
    import psutil

    interfaces = psutil.net_if_addrs().items()
    name = next(name for name, addresses in interfaces if any(one.address == _LOOPBACK for one in addresses))
    os.environ.update(GLOO_SOCKET_IFNAME=name, NCCL_SOCKET_IFNAME=name)
