"""Losses, gradients, targets and the mixture of both stages; the EMA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sslam.model.config import ModelConfig
from sslam.objective.bootstrap import Bootstrap, Losses
from sslam.objective.config import VARIANTS
from sslam.training.schedule import ema_decay
from sslam.views.draw import Views, views_from_masks
from sslam.views.mixing import Windows, mix
from sslam.weights.fairseq import from_fairseq_names, to_fairseq_names
from sslam.weights.layout import ForeignCheckpoint
from tests.parity_checks.folder import Check, Goldens, close, direction, relative

LOSS, GRADIENT, TARGET, FEATURES = 1e-5, 1e-4, 5e-5, 2e-5
EMA, SCHEDULE = 5e-7, 1e-9
OURS = {  # the reference's name of a loss: ours, by the stage's variant
    "stage1": {"IMAGE_regression": ("local_unmixed",), "cls": ("utterance",)},
    "sslam": {
        "eat_patch_loss": ("local_unmixed", "local_mixed"),
        "mix_patch_loss": ("retention",),
        "eat_cls_loss": ("utterance",),
    },
}


@dataclass(frozen=True)
class Scene:
    """A stage set up as the reference was: weights, batch, masks, windows and loss weights."""

    method: Bootstrap
    hosts: Tensor  # (B, T, F)
    views: Views
    facts: dict[str, Any]
    arrays: dict[str, Tensor]

    def losses(self, views: Views) -> Losses:
        losses: Losses = self.method(self.hosts, views, torch.Generator())
        return losses

    def weighted(self, losses: Losses, names: tuple[str, ...]) -> float:
        return sum(getattr(self.method.objective, n) * losses.terms[n].item() for n in names)


def scene(goldens: Goldens, stage: int) -> Scene:
    entry = goldens.index["pretrain"]
    options = goldens.json(entry["config"])["model"]
    student = goldens.student("pretrain")
    teacher = from_fairseq_names(goldens.tensors(entry["teacher"]), {"model": options})
    batch = goldens.tensors(entry["batch"])
    hosts = batch["source"].flatten(0, 1).float()
    masks = batch["masks"].bool().view(len(hosts), entry["masks_per_clip"], -1)
    facts, arrays = (
        goldens.json(entry[f"stage{stage}"][0]),
        goldens.tensors(entry[f"stage{stage}"][1]),
    )

    variant = VARIANTS["stage1" if stage == 1 else "sslam"]
    top = options["average_top_k_layers"]
    changes = {
        "local_layers": top,
        "utterance_layers": top if stage == 1 else 1,
        "utterance": options["cls_loss"] * masks.shape[0] * masks.shape[1] * stage,
        "mask_noise": 0.0,
    }
    method = Bootstrap(student.config, variant.model_copy(update=changes))
    method.student.load_state_dict(student.encoder)
    method.decoder.load_state_dict(student.decoder or {})
    method.teacher.encoder.load_state_dict(teacher.encoder)
    windows = windows_of(facts, student.config.encoder.patch)
    return Scene(method, hosts, views_from_masks(masks, windows), facts, arrays)


def windows_of(facts: dict[str, Any], patch: int) -> Windows:
    """The mixing windows of a stage's facts; none in stage 1."""
    if "idx_1" not in facts:
        return Windows(0, 0, 0)
    starts = (facts["idx_1"] // patch, facts["idx_2"] // patch)
    return Windows(*starts, facts["no_mix_region_size"] // patch)


def stage_checks(goldens: Goldens, stage: int) -> Iterator[Check]:
    """Losses, total, gradients, targets and predictions of a stage."""
    if f"stage{stage}" not in goldens.index["pretrain"]:
        return
    at, name = scene(goldens, stage), f"stage{stage}"
    losses = at.losses(at.views)
    losses.total.backward()
    yield from loss_checks(name, at, losses)
    yield from gradient_checks(name, at, at.facts)
    yield from prediction_checks(name, at)
    yield from target_checks(name, at)
    yield from window_checks(name, at)


def loss_checks(name: str, at: Scene, losses: Losses) -> Iterator[Check]:
    yield relative(f"{name}/total", losses.total.item(), at.facts["total_reduced"], LOSS)
    for theirs, ours in OURS["stage1" if name == "stage1" else "sslam"].items():
        expected = at.facts["losses"][theirs]["sum_over_sample_size"]
        yield relative(f"{name}/{theirs}", at.weighted(losses, ours), expected, LOSS)
    for key, value in (
        ("target_var", losses.target_spread),
        ("pred_var", losses.prediction_spread),
    ):
        if key in at.facts:
            yield relative(f"{name}/{key}", value.item(), at.facts[key], LOSS)


def gradient_checks(name: str, at: Scene, facts: dict[str, Any]) -> Iterator[Check]:
    gradients = named_gradients(at.method)
    total = torch.stack([g.double().norm() for g in gradients.values()]).norm().item()
    yield relative(f"{name}/grad_norm_total", total, facts["grad_norm_total"], GRADIENT)
    for key, expected in facts["grad_norm"].items():
        ours = gradients[key].double().norm().item() if key in gradients else float("nan")
        yield relative(f"{name}/grad_norm/{key}", ours, expected, GRADIENT)
    for key in (k for k in at.arrays if k.startswith("grad.")):
        ours = gradients[key.removeprefix("grad.")]
        yield direction(f"{name}/{key}", ours, at.arrays[key], GRADIENT)


def named_gradients(method: Bootstrap) -> dict[str, Tensor]:
    """Gradients under the reference's parameter names."""
    parts = [
        {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
        for module in (method.student, method.decoder)
    ]
    named = to_fairseq_names(ForeignCheckpoint(ModelConfig(encoder=method.student.config), *parts))
    return {n: t for n, t in named.items() if isinstance(t, Tensor) and "positions" not in n}


@torch.no_grad()
def prediction_checks(name: str, at: Scene) -> Iterator[Check]:
    """The decoder's output at every patch, visible ones too, and the student's CLS."""
    grid = at.method.student.config.grid(at.hosts.shape[1])
    clips, masks = at.views.visible.shape[:2]
    everywhere = torch.arange(grid.patches).expand(clips, masks, -1)
    views = replace(at.views, masked=everywhere)
    said = at.method.predict(at.method.inputs(at.hosts, views.windows), views, torch.Generator())
    filled = said.patches.reshape(-1, grid.patches, said.patches.shape[-1])
    arrays = at.arrays
    yield close(f"{name}/student_cls", said.cls, arrays["student_cls"], FEATURES)
    if "dec_out_rows" in arrays:
        rows = filled[at.facts["dec_rows"]]
        yield close(f"{name}/decoder rows", rows, arrays["dec_out_rows"], FEATURES)
    squares = filled.double().square().sum((1, 2))
    yield direction(f"{name}/decoder squares", squares, arrays["dec_out_sqsum"], LOSS)


@torch.no_grad()
def target_checks(name: str, at: Scene) -> Iterator[Check]:
    inputs = at.method.inputs(at.hosts, at.views.windows)
    targets = at.method.targets(at.hosts, inputs, at.views.windows)
    patches, arrays = targets.patches.flatten(0, 1), at.arrays
    ours = {
        "targets": patches,
        "cls_target": targets.cls.flatten(0, 1),
        "y_mix_patch": targets.retention,
    }
    for key, tensor in ours.items():
        if key in arrays and tensor is not None:
            yield close(f"{name}/{key}", tensor, arrays[key], TARGET)
    for key in (k for k in arrays if k.startswith("y_orig_patch_row")):
        row = int(key.removeprefix("y_orig_patch_row"))
        yield close(f"{name}/{key}", patches[row], arrays[key], TARGET)
    if "y_orig_patch_sum" in arrays:
        sums = patches.double().sum(-1)
        yield close(f"{name}/y_orig_patch_sum", sums, arrays["y_orig_patch_sum"], TARGET)
    if "mix_source" in arrays:
        mixture = mix(at.hosts, at.views.windows, at.method.student.config.patch)
        expected = arrays["mix_source"].flatten(0, 1).float()
        yield close(f"{name}/mix_source", mixture, expected, 0.0)


@torch.no_grad()
def window_checks(name: str, at: Scene) -> Iterator[Check]:
    """Losses with other mixing windows."""
    patch = at.method.student.config.patch
    for pair, expected in at.facts.get("other_index_pairs", {}).items():
        first, second = (int(part) for part in pair.strip("()").split(","))
        facts = at.facts | {"idx_1": first, "idx_2": second}
        losses = at.losses(replace(at.views, windows=windows_of(facts, patch)))
        yield relative(f"{name}{pair}/total", losses.total.item(), expected["total_reduced"], LOSS)
        for theirs, ours in OURS["sslam"].items():
            want = expected[theirs] / at.facts["sample_size"]
            yield relative(f"{name}{pair}/{theirs}", at.weighted(losses, ours), want, LOSS)


@torch.no_grad()
def ema_checks(goldens: Goldens) -> Iterator[Check]:
    """One EMA step, tensor by tensor, and the schedule of its decay."""
    entry = goldens.index["pretrain"]
    if "ema" not in entry:
        return
    facts, arrays = goldens.json(entry["ema"][0]), goldens.tensors(entry["ema"][1])
    at = scene(goldens, 1)
    at.method.teacher.update(at.method.student, facts["decay"])
    student = goldens.student("pretrain")
    state = dict(at.method.teacher.encoder.named_parameters())
    after = to_fairseq_names(ForeignCheckpoint(student.config, state))
    for key in (k for k in arrays if k.startswith("after.")):
        ours = after[key.removeprefix("after.")]
        assert isinstance(ours, Tensor)
        yield close(f"ema/{key}", ours.detach(), arrays[key], EMA)
    covered = set(facts["tracked"]) == set(after)
    yield Check("ema/covers the same tensors", 0.0 if covered else 1.0, 0.0)
    for key, norm in facts.get("norm_after", {}).items():
        tensor = after[key]
        assert isinstance(tensor, Tensor)
        yield relative(f"ema/norm/{key}", tensor.double().norm().item(), norm, 1e-6)
    rule = facts["schedule"]
    for update, decay in rule["decay_used_at_update"].items():
        ours_decay = ema_decay(int(update), rule["start"], rule["end"], rule["anneal_end_step"])
        yield Check(f"ema/decay at {update}", abs(ours_decay - decay), SCHEDULE)
