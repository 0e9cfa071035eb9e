"""From a run of a few steps to a folder that loads, tags, and says what it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import corpus
import numpy as np
import pytest
import torch
import yaml
from card import HEADLINES, read_story
from credits import attribution
from evaluate import PER_CENT, Row, mean_over, with_gains
from ship import Shipment, ship
from tag_head import normalised, sides, with_classifier

from sslam.ablation.suite import load_suite
from sslam.data.manifest import Clip, write_manifest
from sslam.errors import InputError
from sslam.evaluation.linear import Problem
from sslam.training.pretrain import Place, pretrain
from sslam.weights.native import load_folder

from .conftest import LABELS, row

SCENES = {"train": 60, "valid": 20, "test": 24}


@pytest.fixture(scope="module")
def shipped(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Shipment:
    """A run, the sets it is judged on, and what was made of it."""
    work = tmp_path_factory.mktemp("ship")
    rows = corpus.read_parts(collection)
    sets = corpus.manifests(rows)
    (work / "manifests").mkdir()
    write_manifest(sets["pretrain"], work / "manifests" / "pretrain.csv")
    single = [
        clip for clip in corpus.isolated_events(rows["events"]) if clip.labels[0] in LABELS[:3]
    ]
    for name in ("esc50", "keywords", "digits-ann", "instruments"):
        write_manifest(single, work / "manifests" / f"{name}.csv")
    write_manifest(_several(single), work / "manifests" / "soundscapes.csv")
    recipe = load_suite("quick").start_recipe()
    pretrain([work / "manifests" / "pretrain.csv"], work / "run", recipe, place=Place("cpu", 0))
    shipment = Shipment(
        work / "run", collection, work / "manifests", work / "work", work / "scores",
        work / "sslam-tiny", SCENES,
    )  # fmt: skip
    ship(shipment)
    return shipment


def _several(clips: Sequence[Clip]) -> list[Clip]:
    """The same recordings under four labels each, which is all that a score needs."""
    rng = np.random.default_rng(2)
    return [
        replace(clip, labels=tuple(rng.choice(LABELS, 4, replace=False).tolist())) for clip in clips
    ]


def test_the_folder_loads_in_half_the_bytes_and_names_every_class(shipped: Shipment) -> None:
    model, encoder = load_folder(shipped.out), load_folder(shipped.run / "model")
    assert set(model.config.labels) == set(LABELS)
    for name, tensor in encoder.encoder.state_dict().items():
        mine = model.encoder.state_dict()[name]
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, tensor.half().float(), rtol=0, atol=0)
    whole, half = (f / "model.safetensors" for f in (shipped.run / "model", shipped.out))
    assert half.stat().st_size < 0.7 * whole.stat().st_size


def test_the_classifier_is_the_linear_map_that_was_fitted(shipped: Shipment) -> None:
    """Standardisation, weights and biases, put into a layer norm and a linear layer."""
    rng = np.random.default_rng(5)
    model = load_folder(shipped.run / "model")
    width = model.config.encoder.width
    vectors = (5 + rng.standard_normal((50, width)) * 3.0 ** rng.uniform(-3, 3, width)).astype("f4")
    targets = rng.random((50, 3)) < 0.5
    linear = Problem.of(normalised(vectors), targets, True).solve(0.1)
    tagger = with_classifier(model, linear, ("a", "b", "c"), "mean")
    assert (tagger.config.labels, tagger.config.pooling) == (("a", "b", "c"), "mean")
    assert tagger.classifier is not None
    with torch.no_grad():
        logits = tagger.classifier(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(logits, linear.scores(normalised(vectors)), atol=1e-4)


def test_tones_are_named(shipped: Shipment) -> None:
    """Even a model of three steps tells pure tones apart: chance is the share of positives."""
    tags = json.loads((shipped.scores / "sslam-tiny-tags.json").read_text())
    chance = sum(c["positives"] for c in tags["per_class"]) / len(LABELS) / tags["test_scenes"]
    assert tags["test_scenes"] == SCENES["test"]
    assert tags["train_scenes"] == SCENES["train"]
    assert tags["metrics"][0]["value"] > chance + 0.2


def test_vectors_are_normalised_like_the_classifier_does() -> None:
    vectors = np.random.default_rng(0).normal(3, 2, (4, 8)).astype(np.float32)
    found = normalised(vectors)
    expected = (vectors - vectors.mean(1, keepdims=True)) / vectors.std(1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_sides_share_no_recording_and_valid_knows_only_what_train_has() -> None:
    clips = [
        Clip(Path(f"{name}{k}"), (name,), "test" if k > 8 else "train", f"{name}{k // groups}")
        for name, groups in (("many", 1), ("once", 9))
        for k in range(12)
    ]
    found = sides(clips)
    groups = {side: {clip.group for clip in members} for side, members in found.items()}
    assert not groups["train"] & groups["valid"]
    learned = {clip.labels for clip in found["train"]}
    assert {clip.labels for clip in found["valid"]} <= learned == {("many",), ("once",)}
    assert sum(map(len, found.values())) == len(clips)
    for side, members in found.items():
        assert {clip.split for clip in members} == {side}


def test_the_card_tells_data_scores_time_and_limits(shipped: Shipment) -> None:
    card = (shipped.out / "README.md").read_text()
    story = read_story(shipped.run)
    assert f"{story.config['data']['clips']} clips" in card
    for needed in (
        "seed 1",
        "stage1 3 steps",
        "## Limits",
        "ATTRIBUTION.md",
        "random weights, chosen",
    ):
        assert needed in card
    for label in LABELS:
        assert f"| {label} | " in card
    (model,) = yaml.safe_load(card.split("---")[1])["model-index"]
    found = [(r["dataset"]["name"], r["metrics"][0]["name"]) for r in model["results"]]
    assert found and len(set(found)) == len(found)  # a reader can tell them apart
    assert {name for name, _ in found} <= set(HEADLINES)
    tags = json.loads((shipped.scores / "sslam-tiny-tags.json").read_text())
    assert f"mAP {tags['metrics'][0]['value']:.3f}" in card
    assert "<svg" in (shipped.out / "curves.svg").read_text()


def test_credits_count_every_trained_recording(shipped: Shipment, collection: Path) -> None:
    text = (shipped.out / "ATTRIBUTION.md").read_text()
    rows = corpus.pretraining_rows(corpus.read_parts(collection))
    counted = [int(line[2:].split(" × ")[0]) for line in text.splitlines() if " × " in line]
    assert sum(counted) == len(rows)
    assert "need a word" not in text


def test_recordings_whose_licence_is_contested_are_not_trained_on(collection: Path) -> None:
    files = ("ogg/a/3.ogg", "ogg/a/5.ogg")
    rows = [row(source="gcin_voice", orig_path=path, licence_tier="permissive") for path in files]
    kept = corpus.pretraining_rows({"events": [], "unlabelled": rows})
    assert [each["orig_path"] for each in kept] == ["ogg/a/5.ogg"]
    text = attribution(kept, collection / "licences")
    assert "1 × CC BY 3.0: ChionMeilin" in text and "GPL" not in text


def test_gains_are_over_the_better_baseline() -> None:
    def of(features: str, score: float) -> Row:
        return Row("s", features, "accuracy", PER_CENT * score, 0, 0, 0.1, 1, 1, 2)

    rows = with_gains([of("logmel", 0.4), of("logmel-segments", 0.5), of("m", 0.65)])
    assert [each.gain for each in rows] == [None, None, pytest.approx(15.0)]


def test_sets_of_a_family_are_averaged_as_independent() -> None:
    def of(name: str, score: float) -> Row:
        return Row(name, "m", "accuracy", score, score - 3, score + 3, 0.1, 1, 50, 10)

    (mean,) = mean_over("digits", [of("digits-a", 40), of("esc50", 90), of("digits-b", 60)])
    assert (mean.set, mean.score, mean.test_clips) == ("digits-mean", 50, 100)
    assert (mean.high - mean.low) / 2 == pytest.approx(3 / 2**0.5)


def test_a_run_without_a_model_is_refused(shipped: Shipment, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no model"):
        ship(replace(shipped, run=tmp_path))
