from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.training.tuning import (
    CLASSES,
    accuracy_of,
    small_model,
    split,
    write_timed,
    write_tones,
)

from sslam.data.manifest import Clip
from sslam.errors import CheckpointError, InputError, RecipeError
from sslam.training.checkpoint_folder import CheckpointFolder
from sslam.training.finetune.model import build_model, predict
from sslam.training.finetune.recipe import FineTuneRecipe
from sslam.training.finetune.recipe_files import (
    changed,
    finetune_recipe_names,
    load_finetune_recipe,
)
from sslam.training.finetune.run import Tuned, finetune
from sslam.training.finetune.targets import TuningData
from sslam.training.stopping import Ending, Limits
from sslam.weights.native import fingerprint, load_folder


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    return write_tones(tmp_path_factory.mktemp("tones"), 27)


@pytest.fixture
def quick() -> FineTuneRecipe:
    """Every augmentation, drop path and validation, in a few short steps."""
    return load_finetune_recipe(
        "default",
        [
            "steps=6",
            "batch=4",
            "accumulate=2",
            "frames=96",
            "augment.noise_roll={}",
            "ema_decay=0.5",
            "selection.every_steps=2",
            "checkpoint_every=1",
            "optimiser.lr=3e-3",
        ],
    )


def tune(data: TuningData, out: Path, recipe: FineTuneRecipe, steps: int | None = None) -> Tuned:
    limits = Limits(steps=steps)
    return finetune(small_model(), data, out, recipe, accuracy_of, limits, "cpu")


def lines(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "clips_per_s"} for row in rows]


def test_tones_are_learned(tones: list[Clip], tmp_path: Path) -> None:
    recipe = load_finetune_recipe(
        "default",
        [
            "steps=60",
            "batch=9",
            "frames=96",
            "pooling=mean",
            "optimiser.lr=1e-2",
            "optimiser.layer_decay=0.9",
            "augment.mixup.probability=0.3",
            "selection.every_steps=20",
        ],
    )
    data = split(tones, 9)
    tuned = tune(data, tmp_path / "run", recipe)
    assert tuned.finished and tuned.validation is not None
    assert tuned.validation["accuracy"] >= 8 / 9
    model = load_folder(tuned.model)
    assert model.config.labels == CLASSES and model.config.single_label
    found = predict(model, data.valid.clips, 96)
    again = accuracy_of(data.valid.clips, found.scores)
    assert again == pytest.approx(tuned.validation)
    assert all(scores.sum() == pytest.approx(1, abs=1e-5) for scores in found.scores)


def test_a_resumed_run_is_the_same_to_the_last_bit(
    tones: list[Clip], quick: FineTuneRecipe, tmp_path: Path
) -> None:
    data = split(tones, 6)
    whole = tune(data, tmp_path / "whole", quick)
    stopped = tune(data, tmp_path / "parts", quick, steps=3)
    assert stopped.ending is Ending.STEPS and not stopped.finished
    resumed = tune(data, tmp_path / "parts", quick)
    assert resumed.finished and resumed.best_step == whole.best_step
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    models = [load_folder(tmp_path / name / "model") for name in ("parts", "whole")]
    assert fingerprint(models[0]) == fingerprint(models[1])


def test_the_best_weights_are_those_of_the_best_validation(
    tones: list[Clip], quick: FineTuneRecipe, tmp_path: Path
) -> None:
    """The second of three validations is made to score best, whatever the model says."""
    values = iter([float("nan"), 0.9, 0.5])
    seen: list[list[NDArray[np.float32]]] = []

    def scripted(clips: Sequence[Clip], scores: Sequence[NDArray[np.float32]]) -> dict[str, float]:
        seen.append(list(scores))
        return {"made_up": next(values)}

    data = split(tones, 6)
    tuned = finetune(small_model(), data, tmp_path / "run", quick, scripted, device="cpu")
    assert tuned.best_step == 4 and tuned.validation == {"made_up": 0.9}
    found = predict(load_folder(tuned.model), data.valid.clips, 96, 2)
    np.testing.assert_allclose(np.stack(found.scores), np.stack(seen[1]), atol=1e-6)
    assert not np.allclose(np.stack(found.scores), np.stack(seen[2]), atol=1e-6)
    logged = [row["valid_made_up"] for row in lines(tmp_path / "run") if "valid_made_up" in row]
    assert np.isnan(logged[0]) and logged[1:] == [0.9, 0.5]


def test_a_run_without_gain_ends_early_and_stays_ended(
    tones: list[Clip], quick: FineTuneRecipe, tmp_path: Path
) -> None:
    recipe = changed(quick, ["selection.every_steps=1", "selection.patience=2"])
    data = split(tones, 6)

    def flat(clips: Sequence[Clip], scores: Sequence[NDArray[np.float32]]) -> dict[str, float]:
        return {"flat": 0.5}

    for _ in range(2):
        tuned = finetune(small_model(), data, tmp_path / "run", recipe, flat, device="cpu")
        assert tuned.finished and tuned.step == 3 and tuned.best_step == 1


def test_without_validation_the_last_weights_are_kept(
    tones: list[Clip], quick: FineTuneRecipe, tmp_path: Path
) -> None:
    recipe = changed(quick, ["selection.by=last", "ema_decay=null"])
    tuned = tune(split(tones, 6), tmp_path / "run", recipe)
    assert tuned.best_step is None and tuned.validation is None
    checkpoint = CheckpointFolder(tmp_path / "run" / "checkpoints", 1).latest(print)
    assert checkpoint is not None and checkpoint.step == 6
    kept = load_folder(tuned.model).state_dict()
    for name, tensor in checkpoint.part("model").items():
        assert torch.equal(kept[name], tensor)


def test_averaged_weights_follow_their_equation(
    tones: list[Clip], quick: FineTuneRecipe, tmp_path: Path
) -> None:
    recipe = changed(quick, ["selection.by=last"])
    data = split(tones, 6)
    start = build_model(small_model(), data, recipe).state_dict()
    expected = {name: tensor.clone() for name, tensor in start.items()}
    for steps in range(1, 4):
        tune(data, tmp_path / "run", recipe, steps)
        checkpoint = CheckpointFolder(tmp_path / "run" / "checkpoints", 1).latest(print)
        assert checkpoint is not None
        for name, tensor in checkpoint.part("model").items():
            expected[name] = 0.5 * expected[name] + 0.5 * tensor
    kept = load_folder(tmp_path / "run" / "model").state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(kept[name], tensor)


def test_a_frozen_encoder_does_not_move_and_its_drop_path_acts(
    tones: list[Clip], tmp_path: Path
) -> None:
    base, data = small_model(), split(tones, 6)
    losses = {}
    for drop in (0.0, 0.9):
        recipe = load_finetune_recipe(
            "linear-paper",
            ["steps=3", "batch=6", "frames=96", f"drop_path={drop}", "norm=model"],
        )
        out = tmp_path / str(drop)
        tuned = finetune(base, data, out, recipe, accuracy_of, device="cpu")
        model = load_folder(tuned.model)
        assert fingerprint(model.encoder) == fingerprint(base.encoder)
        assert model.classifier is not None and model.classifier.head.bias.any()
        losses[drop] = [row["total"] for row in lines(out)]
    assert losses[0.0] != losses[0.9]


def test_timed_events_are_learned(tmp_path: Path) -> None:
    clips = write_timed(tmp_path / "timed", 24)
    classes = CLASSES[:2]
    data = split(clips, 8, classes)
    recipe = load_finetune_recipe(
        "events",
        [
            "steps=60",
            "batch=8",
            "frames=160",
            "optimiser.lr=2e-2",
            "optimiser.layer_decay=0.9",
            "augment.mixup=null",
            "augment.spec_augment=null",
            "drop_path=0",
            "selection.every_steps=30",
        ],
    )

    def agreement(clips: Sequence[Clip], scores: Sequence[NDArray[np.float32]]) -> dict[str, float]:
        right = []
        for clip, rows in zip(clips, scores, strict=True):
            assert rows.shape == (10, 2)
            truth = np.zeros((10, 2), dtype=bool)
            (event,) = clip.events
            first = 5 if event.onset_s else 0
            truth[first : first + 5, classes.index(event.label)] = True
            right.append(((rows > 0.5) == truth).mean())
        return {"agreement": float(np.mean(right))}

    tuned = finetune(small_model(), data, tmp_path / "run", recipe, agreement, device="cpu")
    assert tuned.validation is not None and tuned.validation["agreement"] > 0.9


@pytest.mark.parametrize("pooling", ["cls", "mean", "statistics"])
def test_every_pooling_of_a_model_can_be_tuned(
    tones: list[Clip], quick: FineTuneRecipe, pooling: str
) -> None:
    recipe = changed(quick, [f"pooling={pooling}"])
    model = build_model(small_model(), split(tones, 6), recipe).eval()
    tuned = predict(model, tones[:2], 96).scores
    used = [tagging.clip_scores for tagging in model.tag([clip.path for clip in tones[:2]])]
    np.testing.assert_allclose(np.stack(tuned), np.stack(used), atol=1e-5)
    assert model.config.window_s == 0.96


def test_long_clips_are_heard_in_windows(tones: list[Clip], quick: FineTuneRecipe) -> None:
    data = split(tones, 6)
    model = build_model(small_model(), data, quick).eval()
    clip = tones[0]  # 0.9 s: 88 frames
    halves = [replace(clip, start_s=0.0, end_s=0.495), replace(clip, start_s=0.48)]
    whole = predict(model, [clip], 48).scores[0]
    parts = predict(model, halves, 48).scores
    np.testing.assert_allclose(whole, (parts[0] + parts[1]) / 2, atol=1e-6)
    per_frame = predict(model, [clip], 48, per_frame=True).scores[0]
    assert per_frame.shape == (6, 3)


def test_normalisation_is_measured_given_or_the_models(
    tones: list[Clip], quick: FineTuneRecipe
) -> None:
    data = split(tones, 6)
    found = {
        how: build_model(small_model(), data, changed(quick, [f"norm={how}"])).config.front_end
        for how in ("model", "measured", "{mean: -5.0, std: 3.0}")
    }
    assert found["model"] == small_model().config.front_end
    assert (found["{mean: -5.0, std: 3.0}"].mean, found["{mean: -5.0, std: 3.0}"].std) == (-5, 3)
    waves = [clip.read() for clip in data.train.clips]
    logmels = [
        build_model(small_model(), data, quick).front_end(torch.from_numpy(w)[None]) for w in waves
    ]
    config = small_model().config.front_end
    values = torch.cat([m.logmel[0, : m.frames[0]].flatten() for m in logmels])
    mean = float(values.mean()) * 2 * config.std + config.mean
    assert found["measured"].mean == pytest.approx(mean, abs=1e-2)


def test_other_data_or_another_model_is_refused(
    tones: list[Clip], quick: FineTuneRecipe, tmp_path: Path
) -> None:
    data, out = split(tones, 6), tmp_path / "run"
    tune(data, out, quick, steps=1)
    with pytest.raises(InputError, match="belongs to other recordings"):
        tune(split(tones, 7), out, quick)
    with pytest.raises(InputError, match="was started from"):
        finetune(small_model(1), data, out, quick, accuracy_of, device="cpu")
    with pytest.raises(RecipeError, match="batch is 4 there and 8 here"):
        tune(data, out, changed(quick, ["batch=8"]))
    (out / "checkpoints" / "step-000000001.safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="every checkpoint is damaged"):
        tune(data, out, quick)


def test_recipes_are_checked() -> None:
    assert {"default", "paper", "linear-paper", "events"} <= set(finetune_recipe_names())
    assert load_finetune_recipe("linear-paper").frozen
    for change, message in (
        ("batch=5", None),
        ("accumulate=5", "batch 48 is no multiple of accumulate 5"),
        ("optimiser.layer_dcay=1", "did you mean layer_decay"),
        ("drop_path=1.5", "drop_path"),
        ("target=frames", "roll_gain turns a clip"),
    ):
        if message is None:
            assert load_finetune_recipe("default", [change]).batch == 5
            continue
        with pytest.raises(RecipeError, match=message):
            load_finetune_recipe("default", [change])
    with pytest.raises(RecipeError, match="no recipe is named 'nothing'"):
        load_finetune_recipe("nothing")


def test_steps_follow_epochs_as_the_published_runs_did() -> None:
    recipe = load_finetune_recipe("default", ["epochs=50", "batch=48"])
    assert recipe.total_steps(3_750) == 3_906 and recipe.warmup(3_906) == 390
    assert recipe.validation_steps(3_750) == 78


def test_a_batch_of_one_cannot_be_mixed(tones: list[Clip], tmp_path: Path) -> None:
    recipe = load_finetune_recipe("default", ["batch=1", "frames=96", "steps=1"])
    with pytest.raises(InputError, match="nothing to mix with"):
        tune(split(tones, 6), tmp_path / "run", recipe)


def test_cross_entropy_needs_one_label_a_clip(tones: list[Clip], quick: FineTuneRecipe) -> None:
    two = [replace(tones[0], labels=CLASSES[:2]), *tones[1:]]
    data = split(two, 6)
    with pytest.raises(InputError, match=r"000\.wav has 2: take bce"):
        build_model(small_model(), data, changed(quick, ["loss.kind=ce"]))
    assert not build_model(small_model(), data, quick).config.single_label
