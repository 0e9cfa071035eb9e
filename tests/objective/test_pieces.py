"""A group in pieces gives what the group gives at once, in less memory and in any cut."""

from __future__ import annotations

import pytest
import torch

from sslam.objective import bootstrap, pieces
from sslam.objective.bootstrap import Bootstrap, Losses
from sslam.objective.config import VARIANTS
from sslam.objective.losses import moments, spread
from sslam.objective.pieces import CPU_NUMBERS, WHOLE_GROUP, Piece, at_once, runs, sum_in_turn
from tests.objective.test_bootstrap import group, method, noise


def losses_and_gradients(
    net: Bootstrap, clips_at_once: int | None, masks: int = 2
) -> tuple[Losses, list[torch.Tensor]]:
    net.clips_at_once = clips_at_once
    net.zero_grad(set_to_none=True)
    losses: Losses = net(*group(5, 80, masks), noise())
    (losses.total / 3).backward()
    return losses, [p.grad for p in net.parameters() if p.grad is not None]


def assert_equal(
    ours: tuple[Losses, list[torch.Tensor]], expected: tuple[Losses, list[torch.Tensor]]
) -> None:
    (parts, gradients), (whole, theirs) = ours, expected
    torch.testing.assert_close(parts.total, whole.total)
    torch.testing.assert_close(parts.terms, whole.terms)
    torch.testing.assert_close(parts.target_spread, whole.target_spread)
    torch.testing.assert_close(parts.prediction_spread, whole.prediction_spread)
    assert len(gradients) == len(theirs)
    scale = max(float(g.abs().max()) for g in theirs)
    for our, their in zip(gradients, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("variant", ["stage1", "sslam"])
@pytest.mark.parametrize("clips", [1, 2, 4])
def test_pieces_give_the_losses_and_gradients_of_the_group(variant: str, clips: int) -> None:
    net = method(VARIANTS[variant], mask_noise=0.5)
    whole = losses_and_gradients(net, WHOLE_GROUP)
    assert_equal(losses_and_gradients(net, clips), whole)


@pytest.mark.parametrize("masks_at_once", [1, 2, 4])  # of 3: also where the last piece is smaller
def test_so_do_pieces_of_a_clip(masks_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net = method(VARIANTS["sslam"], mask_noise=0.5)
    whole = losses_and_gradients(net, WHOLE_GROUP, masks=3)
    cut: list[Piece] = []

    def noted(clips: int, masks: int, size: int) -> list[Piece]:
        cut.extend(pieces.pieces(clips, masks, size))
        return cut

    monkeypatch.setattr(bootstrap, "at_once", lambda device, numbers: masks_at_once)
    monkeypatch.setattr(bootstrap, "pieces", noted)
    assert_equal(losses_and_gradients(net, None, masks=3), whole)
    assert len(cut) == {1: 15, 2: 10, 4: 5}[masks_at_once]


def test_gradients_of_groups_accumulate() -> None:
    net = method(VARIANTS["sslam"])
    _, once = losses_and_gradients(net, 2)
    once = [g.clone() for g in once]
    (net(*group(5, 80), noise()).total / 3).backward()
    for parameter, first in zip(
        (p for p in net.parameters() if p.requires_grad), once, strict=True
    ):
        torch.testing.assert_close(parameter.grad, 2 * first)


def test_pieces_need_no_gradient() -> None:
    net = method(VARIANTS["sslam"])
    net.clips_at_once = 2
    with torch.no_grad():
        assert not net(*group(5, 80), noise()).total.requires_grad


def test_one_piece_is_alive_at_a_time() -> None:
    alive: list[int] = []
    weight = torch.ones(1000, requires_grad=True)
    held = {"now": 0}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held["now"] += 1
        return tensor

    def part() -> torch.Tensor:
        held["now"] = 0
        total = (weight.exp() * weight.sin()).sum()
        alive.append(held["now"])
        return total

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        total = sum_in_turn([part, part, part], [weight])
        outside = held["now"] - alive[-1]
    total.backward()
    assert alive == [alive[0]] * 3
    assert outside == 0, "nothing is kept for the gradient of the whole"
    expected = 3 * (weight.exp() * (weight.sin() + weight.cos())).detach()
    torch.testing.assert_close(weight.grad, expected)


def test_a_cpu_takes_pieces_that_fit_its_cache_and_an_accelerator_the_group() -> None:
    cpu = torch.device("cpu")
    assert at_once(cpu, CPU_NUMBERS // 4) == 4
    assert at_once(cpu, 10 * CPU_NUMBERS) == 1
    whole = at_once(torch.device("cuda"), 5)
    assert list(runs(7, whole)) == [slice(0, 7)]
    assert list(pieces.pieces(7, 3, whole)) == [Piece(slice(0, 7), slice(0, 3))]


@pytest.mark.parametrize("size", range(1, 20))
def test_pieces_cover_every_mask_once_and_are_no_larger_than_asked(size: int) -> None:
    seen = torch.zeros(5, 3)
    for clips, masks in pieces.pieces(5, 3, size):
        assert 0 < seen[clips, masks].numel() <= size
        seen[clips, masks] += 1
    assert (seen == 1).all()


def test_the_spread_of_parts_is_that_of_all_rows() -> None:
    rows = 3 + torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    parts = [moments(rows[:7]), moments(rows[7:40]), moments(rows[40:])]
    expected = (rows.double().var(dim=0) + 1e-6).sqrt().mean()
    assert spread(parts).item() == pytest.approx(expected.item(), rel=1e-6)
