"""Joining the processes that torchrun starts, and parting in good order."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from sslam.errors import InputError, SslamError
from sslam.training.meeting import fresh_store
from sslam.training.ranks import Ranks

# Processes that torchrun started together find each other in seconds. Where one dies meanwhile,
# gloo can wait for it until the timeout, which thus must not be that of a long checkpoint.
CONNECT_S = 60.0
# What a transport says when the process at its other end is gone or does not answer.
_LOST = ("gloo", "NCCL", "Connection", "Timed out", "timed out", "Socket")


class RankLostError(SslamError):
    """Another process of the run died or does not answer."""


def is_launched() -> bool:
    """Whether torchrun, or something that sets the same variables, started this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def own_device(device: torch.device) -> torch.device:
    """``device``, and when that is CUDA without a number, the GPU of this process's place."""
    if device != torch.device("cuda"):
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def joined(device: torch.device, timeout_s: float) -> Iterator[Ranks]:
    """This process's place in the run; inside the block, all its processes can talk.

    Args:
        device: where gradients are: they travel by NCCL between GPUs, by gloo between CPUs.
        timeout_s: how long one waits for the others before it takes them for lost.

    Raises:
        InputError: the processes do not find each other.
        RankLostError: one of them died or does not answer.
    """
    if not is_launched():
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        _connect(backend, CONNECT_S)
        dist.distributed_c10d._set_pg_timeout(timedelta(seconds=timeout_s))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the processes of the run do not find each other ({reason}): start them with "
            "torchrun, and see GLOO_SOCKET_IFNAME in docs/scale.md"
        ) from error
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    except RuntimeError as error:
        if not any(word in str(error) for word in _LOST):
            raise
        reason = str(error).splitlines()[0].rpartition("] ")[2].partition(". ")[0]
        raise RankLostError(
            f"rank {os.environ['RANK']} lost contact with another process of the run ({reason}): "
            "the same command goes on from the last checkpoint"
        ) from error
    finally:
        _part()


def _part() -> None:
    """Leave the other processes; what remains of the connections goes with this process.

    The group's own object is never freed. Its end waits for its threads, and one of them may be
    about to let go of a tensor that Python owns, for which it wants Python's lock. Where the last
    owner is C++, as DDP's is, the lock is held meanwhile: both would wait for ever. Where a process
    was lost, it would also wait for what the living still owe each other.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(dist.group.WORLD))
    dist.destroy_process_group()


def _connect(backend: str, timeout_s: float) -> None:
    patience = timedelta(seconds=timeout_s)
    store, rank, world = next(rendezvous("env://", timeout=patience))
    store.set_timeout(patience)
    fresh = fresh_store(store, rank, world, timeout_s)
    dist.init_process_group(backend, store=fresh, rank=rank, world_size=world, timeout=patience)
