"""A training step never waits for the device: nothing asks for the value of a tensor.

Tensors on the CPU stand in for the device's: any operation that would have to copy a value back,
or to find out a size from values, is refused while the step runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sslam.features.front_end import FrontEnd
from sslam.objective.config import VARIANTS
from sslam.objective.pieces import WHOLE_GROUP
from sslam.training.optim import OptimiserConfig, adamw
from tests.objective.test_bootstrap import group, method, noise

WAITS = (
    "aten::_local_scalar_dense",
    "aten::item",
    "aten::is_nonzero",
    "aten::equal",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::repeat_interleave.Tensor",
)
INDEXING = ("aten::index.", "aten::index_put")  # by a mask, whose size its values decide


class NoWaiting(TorchDispatchMode):
    """Refuses what would make the host wait for the device."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.name()
        indices = args[1] if name.startswith(INDEXING) else ()
        by_mask = any(i is not None and i.dtype == torch.bool for i in indices)
        if by_mask or name in WAITS or name.split(".")[0] in WAITS:
            raise AssertionError(f"{name} makes the host wait for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("variant", ["stage1", "sslam"])
@pytest.mark.parametrize("at_once", [WHOLE_GROUP, 2])
def test_a_step_never_waits(variant: str, at_once: int) -> None:
    net = method(VARIANTS[variant], mask_noise=0.01).train()
    net.clips_at_once = at_once
    optimiser = adamw(net, OptimiserConfig())
    batch = group(3, 80)
    with NoWaiting():
        losses = net(*batch, noise())
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 4.0)
        optimiser.step()
        net.teacher.update(net.student, 0.99)
    assert losses.total.isfinite()


@pytest.mark.parametrize("together", [False, True])  # as on a CPU, and as on an accelerator
def test_the_front_end_never_waits(together: bool) -> None:
    wave = torch.randn(2, 16_000).requires_grad_(together)
    samples = torch.tensor([16_000, 9_000])
    front_end = FrontEnd()
    with NoWaiting():
        logmel = front_end(wave, samples, 96).logmel
    assert logmel.isfinite().all()


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: bool((x > 0).all()),
        lambda x: x.repeat_interleave((x > 0).long()),
    ],
)
def test_waiting_is_noticed(wait: Callable[[Tensor], object]) -> None:
    with pytest.raises(AssertionError, match="wait"), NoWaiting():
        wait(torch.ones(3))
