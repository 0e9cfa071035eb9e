"""The whole method against its slow version, term by term, in every variant."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from sslam.errors import InputError
from sslam.features.grid import Grid
from sslam.model.config import DecoderConfig, EncoderConfig, ModelConfig
from sslam.objective.bootstrap import Bootstrap
from sslam.objective.config import VARIANTS, ObjectiveConfig
from sslam.views.draw import ViewConfig, Views, draw_views
from sslam.views.masking import MaskConfig
from tests.objective.slow_method import slow_terms

MODEL = ModelConfig(
    encoder=EncoderConfig(width=24, depth=3, heads=3, n_mels=64),
    decoder=DecoderConfig(layers=2, groups=4),
)


def method(objective: ObjectiveConfig, *, mask_noise: float = 0.0) -> Bootstrap:
    torch.manual_seed(0)
    net = Bootstrap(MODEL, objective.model_copy(update={"mask_noise": mask_noise}))
    with torch.no_grad():  # a teacher that differs from its student
        for parameter in net.teacher.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def group(clips: int, frames: int, masks: int = 2, seed: int = 1) -> tuple[torch.Tensor, Views]:
    grid = Grid(frames // 16, 4)
    rng = torch.Generator().manual_seed(seed)
    config = ViewConfig(masks_per_clip=masks, mask=MaskConfig(ratio=0.7, block=3))
    return torch.randn(clips, frames, 64, generator=rng), draw_views(config, clips, grid, rng)


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(2)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("clips", "frames"), [(3, 80), (2, 208)])
def test_every_term_equals_the_slow_version(variant: str, clips: int, frames: int) -> None:
    net = method(VARIANTS[variant])
    hosts, views = group(clips, frames)
    losses = net(hosts, views, noise())
    slow = slow_terms(net, hosts, views)
    used = {n for n in slow if getattr(net.objective, n)}
    assert set(losses.terms) == used
    if variant in ("sslam", "mb-ua-pma"):  # the slow utterance term is over both views
        assert losses.terms["utterance"].item() == pytest.approx(slow["utterance"], rel=1e-5)
    for name in used - {"utterance"}:
        assert losses.terms[name].item() == pytest.approx(slow[name], rel=1e-5), name
    weighted = sum(getattr(net.objective, n) * t.item() for n, t in losses.terms.items())
    assert losses.total.item() == pytest.approx(weighted, rel=1e-5)


def test_retention_without_unmixed_clips_equals_the_slow_version() -> None:
    net = method(ObjectiveConfig(retention=1, local_layers=2))
    hosts, views = group(3, 96)
    slow = slow_terms(net, hosts, views)
    losses = net(hosts, views, noise())
    assert losses.terms.keys() == {"retention"}
    assert losses.total.item() == pytest.approx(slow["retention"], rel=1e-5)


def test_only_student_and_decoder_learn() -> None:
    net = method(VARIANTS["sslam"])
    net(*group(3, 80), noise()).total.backward()
    assert all(p.grad is None for p in net.teacher.parameters())
    without = [n for n, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(p.grad.abs().max() > 0 for p in net.parameters() if p.requires_grad)


def test_a_clip_in_stage_1_does_not_depend_on_its_neighbours() -> None:
    net = method(VARIANTS["stage1"])
    hosts, views = group(3, 80)
    whole = net(hosts, views, noise()).total
    parts = [
        net(
            hosts[i : i + 1],
            Views(views.visible[i : i + 1], views.masked[i : i + 1], views.windows),
            noise(),
        ).total
        for i in range(3)
    ]
    assert whole.item() == pytest.approx(sum(p.item() for p in parts) / 3, rel=1e-5)


def test_a_batch_of_one_trains_in_stage_1_and_is_refused_in_stage_2() -> None:
    hosts, views = group(1, 80)
    assert method(VARIANTS["stage1"])(hosts, views, noise()).total.isfinite()
    with pytest.raises(InputError, match="at least 2"):
        method(VARIANTS["sslam"])(hosts, views, noise())


def test_mask_noise_comes_from_the_given_generator() -> None:
    net = method(VARIANTS["stage1"], mask_noise=0.5)
    batch = group(2, 80)
    first, again = net(*batch, noise()).total, net(*batch, noise()).total
    other = net(*batch, torch.Generator().manual_seed(3)).total
    assert first.equal(again)
    assert not first.equal(other)


def test_the_teacher_follows_the_student() -> None:
    net = method(VARIANTS["stage1"])
    before = [p.clone() for p in net.teacher.encoder.parameters()]
    net.teacher.update(net.student, 0.9)
    now = net.teacher.encoder.parameters()
    for old, new, student in zip(before, now, net.student.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * student)
    net.train()
    assert not net.teacher.encoder.training


def test_training_lowers_the_loss() -> None:
    net = method(VARIANTS["sslam"])
    batch = group(4, 80)
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 3e-3)
    totals = []
    for _ in range(12):
        losses = net(*batch, noise())
        totals.append(losses.total.item())
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
    assert totals[-1] < 0.9 * totals[0]


def test_spread_tells_a_collapse() -> None:
    net = method(VARIANTS["stage1"])
    assert net(*group(3, 80), noise()).target_spread > 0.5
    with torch.no_grad():
        net.decoder.proj.weight.zero_()
    assert net(*group(3, 80), noise()).prediction_spread < 0.01


def test_an_objective_without_a_local_term_is_refused() -> None:
    with pytest.raises(ValidationError, match="above 0"):
        ObjectiveConfig(utterance=1)
