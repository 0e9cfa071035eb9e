from __future__ import annotations

import pytest

from sslam.benchmarks.benchmark import Benchmark
from sslam.benchmarks.recipes import benchmark_recipe
from sslam.benchmarks.registry import BENCHMARKS, benchmark
from sslam.errors import RecipeError

# name: peak lr, updates, warm-up, batch, mixup alpha, mel bins and frames of the widest mask,
# label smoothing, frames, mean, std, loss, as the released scripts have them.
SCRIPTS = {
    "as-2m": (5e-5, 400_000, 40_000, 96, 0.8, 25.6, 204.8, 0.0, 1024, -4.268, 4.569, "bce"),
    "as-20k": (5e-5, 40_000, 4_000, 48, 0.8, 25.6, 204.8, 0.0, 1024, -4.268, 4.569, "bce"),
    "esc-50": (5e-5, 4_000, 400, 48, None, 51.2, 204.8, 0.1, 512, -6.627, 5.359, "ce"),
    "ks2": (2e-4, 40_000, 4_000, 256, 0.8, 25.6, 25.6, 0.1, 128, -6.846, 5.565, "bce"),
    "spass-market": (5e-5, 3_906, 390, 48, 0.8, 25.6, 204.8, 0.0, 1024, -5.275, 3.268, "bce"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_recipes_are_those_of_the_released_scripts(name: str) -> None:
    recipe = benchmark_recipe(benchmark(name))
    how = recipe.augment
    assert how.spec_augment is not None and not isinstance(recipe.norm, str)
    found = (
        recipe.optimiser.lr,
        recipe.steps,
        recipe.warmup_steps,
        recipe.batch,
        how.mixup.alpha if how.mixup else None,
        pytest.approx(how.spec_augment.mel_ratio * 128),
        pytest.approx(how.spec_augment.time_ratio * recipe.frames),
        recipe.loss.smoothing,
        recipe.frames,
        recipe.norm.mean,
        recipe.norm.std,
        recipe.loss.kind,
    )
    assert found == SCRIPTS[name]
    assert how.mixup is None or how.mixup.probability == 0.9
    assert how.roll_gain is not None and (how.noise_roll is not None) == (name == "ks2")


@pytest.mark.parametrize("member", BENCHMARKS.values(), ids=list(BENCHMARKS))
def test_what_all_recipes_share(member: Benchmark) -> None:
    full, frozen = benchmark_recipe(member), benchmark_recipe(member, linear=True)
    for recipe in (full, frozen):
        optimiser = recipe.optimiser
        assert (optimiser.betas, optimiser.weight_decay, optimiser.floor) == (
            (0.9, 0.95),
            0.05,
            1e-6,
        )
        assert optimiser.clip_norm == float("inf") and not optimiser.decay_exempt
        assert recipe.drop_path == 0.1 and recipe.pooling == "cls" and not recipe.mask_padding
        assert recipe.loss.divide_by == "positives"
    assert full.optimiser.layer_decay == 0.65 and not full.frozen
    assert frozen.frozen and frozen.optimiser.lr == 1e-3
    assert frozen.warmup(1_000) == 0 and frozen.batch == 48
    assert frozen.augment.mixup is not None and frozen.augment.roll_gain is not None


def test_sampling_of_audioset_and_of_twelve_keywords() -> None:
    as_2m = benchmark_recipe(BENCHMARKS["as-2m"]).sampling
    assert (as_2m.kind, as_2m.draws, as_2m.replacement) == ("balanced", 200_000, False)
    keywords = benchmark_recipe(BENCHMARKS["ks1"]).sampling
    assert keywords.kind == "balanced" and keywords.replacement
    assert benchmark_recipe(BENCHMARKS["as-20k"]).sampling.kind == "uniform"


def test_epochs_become_the_steps_of_the_released_linear_runs() -> None:
    assert benchmark_recipe(BENCHMARKS["esc-50"], linear=True).total_steps(3_750) == 3_906


def test_changes_are_checked() -> None:
    assert benchmark_recipe(BENCHMARKS["ks2"], changes=["steps=7"]).steps == 7
    with pytest.raises(RecipeError, match="ks2: stps is not a key; did you mean steps"):
        benchmark_recipe(BENCHMARKS["ks2"], changes=["stps=7"])
