"""How processes that were started together know each other from those of an earlier start.

torchrun may keep its store when it starts its processes again, with the addresses of the dead in
it; who believes them waits for ever. So each process announces itself under a name of its own, and
the first one answers by that name with where in the store this start has its place.
"""

from __future__ import annotations

import time
import uuid

from torch.distributed.distributed_c10d import PrefixStore, Store

from sslam.errors import InputError

_POLL_S = 0.02


def fresh_store(store: Store, rank: int, world: int, timeout_s: float) -> Store:
    """A part of ``store`` that only the processes of this start use; all ranks call.

    Raises:
        InputError: some did not come within ``timeout_s``.
    """
    end = time.monotonic() + timeout_s
    place = _invite(store, world, end) if rank == 0 else _follow(store, rank, end)
    return PrefixStore(place, store)


def _invite(store: Store, world: int, end: float) -> str:
    place = uuid.uuid4().hex
    missing = set(range(1, world))
    while missing:
        for rank in tuple(missing):
            # What is announced may still be a dead process: answered in vain, until it is not.
            if store.check([f"name/{rank}"]):
                store.set(f"answer/{store.get(f'name/{rank}').decode()}", place)
            if store.check([f"here/{place}/{rank}"]):
                missing.remove(rank)
        _wait(end, f"ranks {sorted(missing)}")
    return place


def _follow(store: Store, rank: int, end: float) -> str:
    name = uuid.uuid4().hex
    store.set(f"name/{rank}", name)
    while not store.check([f"answer/{name}"]):
        _wait(end, "rank 0")
    place = store.get(f"answer/{name}").decode()
    store.set(f"here/{place}/{rank}", "")
    return place


def _wait(end: float, who: str) -> None:
    if time.monotonic() > end:
        raise InputError(f"{who} did not come: start all processes again")
    time.sleep(_POLL_S)
