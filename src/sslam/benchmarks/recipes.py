"""The recipe of a benchmark: what is common to all of them, with the task's own numbers put in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sslam.benchmarks.benchmark import Benchmark, FineTuneFields
from sslam.training.finetune.recipe import FineTuneRecipe
from sslam.training.finetune.recipe_files import changed, load_finetune_recipe
from sslam.training.recipe import merged

FULL, FROZEN = "paper", "linear-paper"


def benchmark_recipe(
    member: Benchmark, linear: bool = False, changes: Sequence[str] = ()
) -> FineTuneRecipe:
    """The paper's recipe for a benchmark.

    Args:
        member: whose fields to put in.
        linear: the frozen encoder's recipe instead of the full one.
        changes: ``key=value``, such as ``steps=100``.

    Raises:
        RecipeError: a change that is wrong.
    """
    common = load_finetune_recipe(FROZEN if linear else FULL)
    fields = member.linear if linear else member.fine_tune
    name = f"{member.name}-linear" if linear else member.name
    own = {"name": name, "description": fields.source, **_own(fields)}
    raw = merged(common.model_dump(mode="json"), own)
    return changed(FineTuneRecipe.model_validate(raw), changes)


def _own(fields: FineTuneFields) -> dict[str, Any]:
    """The keys of a recipe that a task decides."""
    known = fields.mean is not None and fields.std is not None
    optimiser: dict[str, Any] = {"lr": fields.lr}
    if fields.layer_decay is not None:
        optimiser["layer_decay"] = fields.layer_decay
    mixed = {"alpha": fields.mixup_alpha, "probability": fields.mixup_prob}
    own: dict[str, Any] = {
        "steps": fields.updates,
        "warmup_steps": fields.warmup,
        "warmup_share": fields.warmup_share,
        "batch": fields.batch,
        "frames": fields.frames,
        "norm": {"mean": fields.mean, "std": fields.std} if known else "measured",
        "drop_path": fields.drop_path,
        "loss": {"kind": fields.loss, "smoothing": fields.smoothing},
        "optimiser": optimiser,
        "augment": {
            "roll_gain": {} if fields.roll else None,
            "mixup": mixed if fields.mixup_alpha else None,
            "spec_augment": {"mel_ratio": fields.mask_ratio, "time_ratio": fields.mask_ratio},
            "noise_roll": {} if fields.noise else None,
        },
        "sampling": {
            "kind": "balanced" if fields.weighted_sampling else "uniform",
            "draws": fields.draws_per_epoch,
            # As many draws as clips, without replacement, would be every clip once.
            "replacement": fields.draws_per_epoch is None,
        },
        "seed": fields.seed,
    }
    if fields.epochs is not None:
        own["epochs"] = fields.epochs
    return own
