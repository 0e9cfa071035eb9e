from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sslam.errors import InputError
from sslam.training.checkpoint import Checkpoint
from sslam.training.ranks import Ranks

from .processes import Team

AGREE = """
import torch
from sslam.errors import InputError
from sslam.training.checkpoint import Checkpoint
from sslam.training.distributed import joined
from sslam.training.ranks import FollowedError

def fails_on(rank):
    if ranks.rank == rank:
        raise InputError(f"rank {rank} failed")
    return ranks.rank

with joined(torch.device("cpu"), 60) as ranks:
    assert ranks.most(10 + ranks.rank) == 12
    assert ranks.total({"a": ranks.rank, "b": 0.5}) == {"a": 3.0, "b": 1.5}
    assert ranks.mean({"a": 3.0 * ranks.rank}) == {"a": 3.0}
    assert ranks.gather(f"r{ranks.rank}") == ["r0", "r1", "r2"]
    assert ranks.lead(lambda: ranks.rank + 7) == (7 if ranks.leads else None)
    assert ranks.together(lambda: ranks.rank) == ranks.rank
    for rank in (1, 0):
        try:
            ranks.together(lambda: fails_on(rank))
        except FollowedError as error:
            assert ranks.rank != rank and str(rank) in str(error)
        except InputError:
            assert ranks.rank == rank
        else:
            raise AssertionError("all must hear of it")
    own = Checkpoint(7, {"w": torch.arange(3.0)}, {"a": 1}) if ranks.leads else None
    shared = ranks.share_checkpoint(own)
    assert (shared.step, shared.state) == (7, {"a": 1})
    assert shared.tensors["w"].tolist() == [0, 1, 2]
    assert ranks.share_checkpoint(None) is None
status = 0
"""


def test_ranks_agree(tmp_path: Path) -> None:
    team = Team(3, AGREE, tmp_path)
    assert team.wait() == [0, 0, 0], team.said()


# Rank 0 leaves while an exchange is under way of tensors that Python made, and then DDP, which is
# the last to know the group, goes. No other thread gets Python's lock until rank 0 waits.
PART = """
import sys, time, torch
import torch.distributed as dist
from pathlib import Path
from sslam.training.distributed import joined

def wait_for(path):
    while not path.exists():
        time.sleep(0.01)

left, done = Path({left!r}), Path({done!r})
with joined(torch.device("cpu"), 60) as ranks:
    copies = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
    found = [torch.zeros(1) for _ in range(2)]
    if ranks.leads:
        dist.all_gather(found, torch.ones(1), async_op=True)
        del found
    else:
        wait_for(left)
        dist.all_gather(found, torch.ones(1))
        done.touch()
if ranks.leads:
    sys.setswitchinterval(1000)
    left.touch()
    del copies
    wait_for(done)
status = 0
"""


def test_a_rank_parts_in_the_middle_of_an_exchange(tmp_path: Path) -> None:
    names = {name: str(tmp_path / name) for name in ("left", "done")}
    team = Team(2, PART.format(**names), tmp_path)
    assert team.wait() == [0, 0], team.said()


def test_one_process_is_a_team_of_its_own() -> None:
    ranks = Ranks()
    assert ranks.leads
    assert ranks.most(3) == 3
    assert ranks.mean({"a": 2.5}) == ranks.total({"a": 2.5}) == {"a": 2.5}
    assert ranks.gather("x") == ["x"]
    checkpoint = Checkpoint(1, {"w": torch.zeros(1)}, {})
    assert ranks.share_checkpoint(checkpoint) is checkpoint
    with pytest.raises(InputError):
        ranks.together(lambda: Ranks(0, 2).own_groups(3))


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_every_group_has_one_rank(world: int) -> None:
    shares = [list(Ranks(rank, world).own_groups(6)) for rank in range(world)]
    assert sorted(group for share in shares for group in share) == list(range(6))
    assert {len(share) for share in shares} == {6 // world}
