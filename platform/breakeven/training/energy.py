"""Energy that a GPU has used, where its driver tells; never estimated.

Reads a counter through NVML; it knows no training.
"""

from collections.abc import Callable

import pynvml
import torch


def energy_meter(device: str, share: float = 1.0) -> Callable[[], float] | None:
    """A function that gives the joules used since this call, or None where the machine does not tell: CPUs, old GPUs.

    device: "cpu", "cuda" or "cuda:1".  share: part of the GPU that the caller holds; it is charged that part of all that the
    GPU uses meanwhile, as no counter tells one process from another.
    """
    if not device.startswith("cuda"):
        return None
    try:
        pynvml.nvmlInit()
        # NVML counts all GPUs of the machine, torch those that are visible here: the identity of the GPU is common.
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        begun = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (pynvml.NVMLError, RuntimeError, AssertionError):
        return None
    return lambda: share * (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) - begun) / 1000.0
