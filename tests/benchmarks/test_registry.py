from __future__ import annotations

import pytest

from sslam.benchmarks.benchmark import FineTuneFields
from sslam.benchmarks.registry import BENCHMARKS, benchmark
from sslam.errors import InputError


def test_every_set_of_the_paper_is_there() -> None:
    assert set(BENCHMARKS) == {
        "as-2m",
        "as-20k",
        "esc-50",
        "ks1",
        "ks2",
        "spass-square",
        "spass-park",
        "spass-waterfront",
        "spass-street",
        "spass-market",
        "idmt-desed-fl",
        "urban-sed",
        "degrees",
    }


@pytest.mark.parametrize("name", ["esc-50", "ESC50", "esc_50"])
def test_spelling_does_not_matter(name: str) -> None:
    assert benchmark(name).name == "esc-50"


def test_unknown_name_is_refused_with_the_names() -> None:
    with pytest.raises(InputError, match=r"'esc-10'.*esc-50"):
        benchmark("esc-10")


@pytest.mark.parametrize("each", BENCHMARKS.values(), ids=BENCHMARKS)
def test_descriptions_are_whole(each) -> None:
    assert len(set(each.classes)) == len(each.classes) > 1
    assert each.title and each.licence and each.citation and each.get and each.layout
    assert (each.task, each.metric) in {("single", "accuracy"), ("multi", "map")}
    assert each.linear.layer_decay is None and each.fine_tune.layer_decay == 0.65
    assert all(choice.unknown and choice.chosen for choice in each.choices)


@pytest.mark.parametrize(
    ("name", "lr", "updates", "warmup", "batch", "mixup", "mask", "frames", "mean", "std"),
    [
        ("as-2m", 5e-5, 400_000, 40_000, 96, 0.8, 0.2, 1024, -4.268, 4.569),
        ("as-20k", 5e-5, 40_000, 4_000, 48, 0.8, 0.2, 1024, -4.268, 4.569),
        ("esc-50", 5e-5, 4_000, 400, 48, 0.0, 0.4, 512, -6.627, 5.359),
        ("ks2", 2e-4, 40_000, 4_000, 256, 0.8, 0.2, 128, -6.846, 5.565),
        ("spass-park", 5e-5, 3_906, 390, 48, 0.8, 0.2, 1024, -5.275, 3.268),
    ],
)
def test_released_recipes(name, lr, updates, warmup, batch, mixup, mask, frames, mean, std) -> None:
    found = BENCHMARKS[name].fine_tune
    assert (found.lr, found.updates, found.warmup, found.batch) == (lr, updates, warmup, batch)
    assert (found.mixup_alpha, found.mask_ratio, found.frames) == (mixup, mask, frames)
    assert (found.mean, found.std) == (mean, std)


def test_epochs_become_updates_by_the_rule_of_the_released_runs() -> None:
    """50 epochs of 3 750 clips in batches of 48 are the 3 906 updates of the SPASS runs."""
    recipe = FineTuneFields(lr=5e-5, batch=48, epochs=50, source="test")
    found = recipe.resolved(3_750)
    assert (found.updates, found.warmup) == (3_906, 390)
    assert BENCHMARKS["spass-park"].linear.resolved(10).warmup == 0
    assert BENCHMARKS["spass-park"].linear.resolved(10).updates == 3_906


def test_a_recipe_without_length_is_refused() -> None:
    with pytest.raises(InputError, match="updates, or epochs"):
        FineTuneFields(lr=1.0, batch=2, source="test").resolved(10)
