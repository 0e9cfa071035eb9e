"""What `auto` chooses for a device, in one place, so that it can be used and printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from sslam.objective.bootstrap import Bootstrap
from sslam.objective.pieces import CPU_NUMBERS


@dataclass(frozen=True)
class Choices:
    """How pre-training computes on a kind of device."""

    device: str
    precision: Literal["bfloat16 autocast", "float32"]
    optimiser: Literal["fused AdamW", "foreach AdamW"]
    attention: str
    group: str
    transfers: str
    front_end: str
    compiled: str

    def lines(self) -> list[str]:
        """One line a choice, to print."""
        return [f"{name:10} {value}" for name, value in asdict(self).items()]


def choices(device: torch.device | str | None = None, compiled: bool = False) -> Choices:
    """What is chosen for ``device``; unset, for CUDA if there is one and else the CPU.

    Compilation is never chosen: it is ``compiled`` that was asked for.

    >>> choices("cpu").precision
    'float32'
    """
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    cuda = chosen.type == "cuda"
    return Choices(
        device=str(chosen),
        precision="bfloat16 autocast" if cuda else "float32",
        optimiser="fused AdamW" if chosen.type in ("cpu", "cuda") else "foreach AdamW",
        attention="scaled_dot_product_attention (flash when the inputs allow it)",
        group=(
            f"in pieces of about {CPU_NUMBERS} numbers a layer, to fit the cache"
            if chosen.type == "cpu"
            else "at once"
        ),
        transfers="pinned, asynchronous" if cuda else "none",
        front_end=f"log-mels are made on {chosen.type}",
        compiled="block by block, for static shapes" if compiled else "no (--compile does)",
    )


def autocast(device: torch.device) -> torch.autocast:
    """The context in which the networks compute on ``device``."""
    enabled = choices(device).precision == "bfloat16 autocast"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def compile_blocks(networks: Bootstrap, backend: str | Callable[..., Any] = "inductor") -> None:
    """Have torch.compile compile every block of student, teacher and decoder, when first used.

    Shapes are taken as they are: a stage shows a block two or three, and each is compiled once,
    for all blocks of a network together. Names of parameters stay as they were.
    """
    student, teacher = networks.student.blocks, networks.teacher.encoder.blocks
    for block in (*student, *teacher, *networks.decoder.layers):
        block.compile(dynamic=False, backend=backend)
