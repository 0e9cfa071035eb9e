"""Where a model computes."""

from __future__ import annotations

import torch

from sslam.errors import InputError


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; ``auto`` is the first CUDA device, or else the CPU.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:  # asserts where CUDA is not built
        raise InputError(f"device {name!r} cannot be used here; give auto or cpu") from error
    if device.type == "meta":
        raise InputError("device 'meta' computes nothing; give auto or cpu")
    return device
