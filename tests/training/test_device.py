"""What is chosen for a device is what is done there."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tests.objective.test_bootstrap import group, method, noise
from torch import nn

from sslam.data.crops import measure_durations
from sslam.data.sources import load_clips
from sslam.objective.config import VARIANTS
from sslam.objective.pieces import WHOLE_GROUP, at_once
from sslam.training import task as task_module
from sslam.training.device import autocast, choices, compile_blocks
from sslam.training.optim import OptimiserConfig, adamw, trainable
from sslam.training.pretrain import crop_plan
from sslam.training.recipe import Recipe
from sslam.training.task import Pretraining


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps"])
def test_choices_are_those_of_the_parts(kind: str) -> None:
    device, chosen = torch.device(kind), choices(kind)
    assert chosen.device == kind
    together = at_once(device, 10)
    assert (chosen.group == "at once") == (together == WHOLE_GROUP)
    assert len(chosen.lines()) == 8
    assert chosen.lines()[0].split() == ["device", kind]


def test_the_optimiser_is_the_chosen_one() -> None:
    optimiser = adamw(nn.Linear(2, 2), OptimiserConfig())
    assert optimiser.defaults["fused"] == (choices("cpu").optimiser == "fused AdamW")


def test_a_cpu_computes_in_float32() -> None:
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_unset_is_a_device_of_this_machine() -> None:
    assert choices().device == ("cuda" if torch.cuda.is_available() else "cpu")


def test_compiled_blocks_give_the_same_and_each_shape_is_compiled_once() -> None:
    compiled: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: Sequence[torch.Tensor]) -> object:
        compiled.append(graph)
        return graph.forward

    plain, net = method(VARIANTS["sslam"]), method(VARIANTS["sslam"])
    plain.clips_at_once = net.clips_at_once = WHOLE_GROUP
    names = [name for name, _ in net.named_parameters()]
    compile_blocks(net, backend)
    try:
        counts = []
        for seed in (2, 3):  # other masks and windows, of the same sizes
            batch = group(3, 160, seed=seed)
            losses, expected = (each(*batch, noise()) for each in (net, plain))
            losses.total.backward()
            expected.total.backward()
            torch.testing.assert_close(losses.total, expected.total)
            counts.append(len(compiled))
    finally:
        torch.compiler.reset()
    assert counts[0] == counts[1] > 0
    assert [name for name, _ in net.named_parameters()] == names
    ours, theirs = (each.student.blocks[0].mlp.fc1.weight.grad for each in (net, plain))
    torch.testing.assert_close(ours, theirs)


def test_bfloat16_moves_the_losses_little_and_leaves_them_float32() -> None:
    net, batch = method(VARIANTS["sslam"]), group(3, 80)
    exact = net(*batch, noise())
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(*batch, noise())
    rough.total.backward()
    assert rough.total.dtype == torch.float32
    assert rough.total != exact.total
    for name, term in exact.terms.items():
        torch.testing.assert_close(rough.terms[name], term, rtol=0.05, atol=0)
    assert all(p.grad.dtype == torch.float32 for _, p in trainable(net))


def test_only_a_gpu_gets_page_locked_memory(
    mini: Recipe, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[torch.Size] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.shape)
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    plan = crop_plan(mini, measure_durations(load_clips(recordings)))
    task = Pretraining(mini, plan, torch.device("cpu"), print, workers=0)
    for _ in task.losses(0):
        pass
    assert not pinned

    stream = task_module.stream
    monkeypatch.setattr(task_module, "stream", lambda *key: stream(*key[:4]))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *args, **kwargs: tensor)
    task.device = torch.device("cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that autocast finds no GPU
        next(iter(task.losses(1)))
    task.close()
    wave, samples, visible, masked = pinned
    assert wave[0] == samples[0] == visible[0] == masked[0] == mini.group_clips


@pytest.mark.parametrize("step", [0, 5])  # of stage 1 and of stage 2
def test_nothing_of_a_step_comes_back_from_the_device(
    step: int, mini: Recipe, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device without values, whoever asks for one fails: .item(), .cpu(), float(), a mask."""
    plan = crop_plan(mini, measure_durations(load_clips(recordings)))
    meta = torch.device("meta")
    stream = task_module.stream
    monkeypatch.setattr(task_module, "stream", lambda *key: stream(*key[:4]))  # meta draws nothing
    monkeypatch.setattr(task_module, "autocast", lambda device: contextlib.nullcontext())
    task = Pretraining(mini, plan, meta, print, workers=0)
    setting = task.begin(step)
    for losses in task.losses(step):
        losses.total.backward()
        assert losses.total.device == meta
    task.close()
    parameters = [p for _, p in trainable(task.bootstrap)]
    assert all(p.grad is not None and p.grad.device == meta for p in parameters)
    torch.nn.utils.clip_grad_norm_(parameters, setting.clip_norm)
    setting.optimiser.step()
    task.bootstrap.teacher.update(task.bootstrap.student, 0.99)


@pytest.mark.parametrize(
    "wait", [torch.Tensor.item, torch.Tensor.cpu, torch.Tensor.tolist, float, torch.nonzero]
)
def test_a_device_without_values_refuses_to_give_one(wait: Callable[..., object]) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        wait(torch.ones((), device="meta"))
