"""The process group of the workers on the network that Ray's nodes speak through, whatever a host's own name stands for."""

import fcntl
import os
import socket
import struct
import sys
from typing import Any

import ray.util
from ray.train.torch import TorchConfig

_SIOCGIFADDR = 0x8915


class NodesTorchConfig(TorchConfig):
    """Ray Train's configuration of torch, for workers that may lose each other."""

    @property
    def backend_cls(self) -> Any:
        """What Ray Train calls when the workers are there, and before they go."""
        return _Backend


class _Backend(TorchConfig().backend_cls):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(use_interface)
        super().on_start(worker_group, backend_config)

    def on_shutdown(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """Their processes end: leaving the group in good order waits half a minute where one of them is lost."""


def use_interface() -> None:
    """Have gloo and NCCL use the interface that owns this node's address in Ray; what the user has set stays."""
    if name := interface_of(ray.util.get_node_ip_address()):
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, name)


def interface_of(address: str) -> str | None:
    """Name of the network interface of this host that has an IPv4 address; None where none has, and where it is not Linux."""
    if sys.platform != "linux":
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
