"""How the networks of a run lie on its processes: whole on one, copied to all, or in shards.

Each way gives the same gradients, the mean over the groups of all processes, so that the loop and
the recipe need not know which it is. Whole tensors can be had from each, and each takes its part of
whole tensors: a run may go on with another number of processes and in another way.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn

from sslam.objective.bootstrap import Bootstrap, Losses
from sslam.objective.pieces import WHOLE_GROUP
from sslam.training.ranks import Ranks
from sslam.training.shards import Rows
from sslam.views.draw import Views

Way = Literal["ddp", "fsdp"]


class Layout(Protocol):
    """The networks as they lie on the processes.

    ``networks`` holds the parameters that an optimiser moves here, under the usual names.
    """

    networks: Bootstrap

    def __call__(self, logmel: Tensor, views: Views, noise: Generator) -> Losses:
        """The losses of a group, ready for a backward pass."""

    def group(self, last: bool) -> Any:
        """A context for forward and backward of a group; gradients meet after the last one."""

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of the networks or their optimiser, all of it, on the CPU; all ranks call."""

    def part(self, whole: Tensor, like: Tensor) -> Tensor:
        """What this process keeps of a whole tensor that belongs to the parameter ``like``."""


class Single:
    """One process."""

    def __init__(self, bootstrap: Bootstrap) -> None:
        self.networks = bootstrap
        self._forward: nn.Module = bootstrap

    def __call__(self, logmel: Tensor, views: Views, noise: Generator) -> Losses:
        losses: Losses = self._forward(logmel, views, noise)
        return losses

    @contextmanager
    def group(self, last: bool) -> Iterator[None]:
        yield

    def whole(self, tensor: Tensor) -> Tensor:
        return tensor.detach().cpu()

    def part(self, whole: Tensor, like: Tensor) -> Tensor:
        return whole


class Replicated(Single):
    """DDP: a copy on each process; gradients are averaged while the last backward pass runs."""

    def __init__(self, bootstrap: Bootstrap) -> None:
        self.networks = bootstrap
        # Every copy starts as the first process's: DDP sends it, the frozen teacher included.
        # No buffer changes, so none has to travel again at every pass; torch renamed the option.
        options = inspect.signature(nn.parallel.DistributedDataParallel).parameters
        renamed = "forward_sync_buffers"
        once: dict[str, Any] = {renamed if renamed in options else "broadcast_buffers": False}
        self._ddp = nn.parallel.DistributedDataParallel(
            bootstrap, gradient_as_bucket_view=True, **once
        )
        self._forward = self._ddp

    @contextmanager
    def group(self, last: bool) -> Iterator[None]:
        if last:
            yield
            return
        with self._ddp.no_sync():
            yield


class Sharded(Single):
    """FSDP2: each process keeps a slice of every tensor and of its optimiser state."""

    def __init__(self, bootstrap: Bootstrap, device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        # A group in pieces is differentiated inside the forward pass, where no shard can be met.
        bootstrap.clips_at_once = WHOLE_GROUP
        # It warns of outputs changed in place, which no part of the method does.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
        with torch.no_grad():
            for tensor in bootstrap.state_dict().values():
                dist.broadcast(tensor, src=0)
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        blocks: Iterable[nn.Module] = (
            *bootstrap.student.blocks,
            *bootstrap.teacher.encoder.blocks,
            *bootstrap.decoder.layers,
        )
        for block in blocks:
            fully_shard(block, mesh=mesh)
        # The teacher's last block is used only as far as its MLP.
        register_fsdp_forward_method(bootstrap.teacher.encoder.blocks[-1], "mlp_output")
        # Shards are gathered when a forward pass begins, and shared out when its backward ends.
        bootstrap.clips_at_once = WHOLE_GROUP
        self._fsdp = fully_shard(bootstrap, mesh=mesh)
        self.networks = bootstrap  # the same object, whose parameters are shards now
        self._forward = bootstrap

    @contextmanager
    def group(self, last: bool) -> Iterator[None]:
        self._fsdp.set_requires_gradient_sync(last)
        self._fsdp.set_is_last_backward(last)
        yield

    def whole(self, tensor: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor

        detached = tensor.detach()
        return (detached.full_tensor() if isinstance(detached, DTensor) else detached).cpu()

    def part(self, whole: Tensor, like: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor) or whole.shape != like.shape:
            return whole
        here = whole.to(like.device)
        return distribute_tensor(here, like.device_mesh, like.placements, src_data_rank=None)


def own_rows(tensor: Tensor) -> tuple[Tensor, Rows | None]:
    """What this process holds of a tensor, on the CPU, and which rows these are; None: it is whole.

    No other process is asked.
    """
    from torch.distributed.tensor import DTensor

    if not isinstance(tensor, DTensor):
        return tensor.detach().cpu(), None
    # FSDP2 cuts rows as torch.chunk does: the last processes may get fewer, or none.
    total, mesh = len(tensor), tensor.device_mesh
    start = min(total, mesh.get_local_rank() * -(-total // mesh.size()))
    return tensor.to_local().detach().cpu(), Rows(start, total)


def in_shards(way: Way, ranks: Ranks) -> bool:
    """Whether each process will hold a slice of every tensor, not all of it."""
    return way == "fsdp" and ranks.world > 1


def lay_out(bootstrap: Bootstrap, way: Way, ranks: Ranks, device: torch.device) -> Layout:
    """Put the networks on the processes of a run; all ranks call, and start with equal weights."""
    if ranks.world == 1:
        return Single(bootstrap)
    return Sharded(bootstrap, device) if in_shards(way, ranks) else Replicated(bootstrap)
