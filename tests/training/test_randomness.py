from __future__ import annotations

import itertools

import torch

from sslam.training.randomness import stream, stream_seed


def test_every_part_of_the_key_counts() -> None:
    keys = itertools.product((0, 1), (0, 1, 11), (0, 1, 11), ("views", "noise"))
    seeds = [stream_seed(*key) for key in keys]
    assert len(set(seeds)) == len(seeds)


def test_a_stream_does_not_depend_on_what_was_drawn_elsewhere() -> None:
    first = torch.rand(5, generator=stream(1, 2, 3, "views"))
    torch.rand(100)
    torch.rand(7, generator=stream(1, 2, 4, "views"))
    assert torch.equal(first, torch.rand(5, generator=stream(1, 2, 3, "views")))


def test_a_stream_is_the_same_on_every_machine() -> None:
    assert stream_seed(1, 2, 3, "views") == 8966769252131744304
