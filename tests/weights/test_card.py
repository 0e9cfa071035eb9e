"""A card states what is known, in a front matter that the hub reads, whatever labels hold."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub import ModelCard

from sslam.errors import InputError
from sslam.model.audio_model import AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights.card import CardFacts, Score, model_card

CONFIG = AudioModelConfig(
    encoder=EncoderConfig(width=32, depth=2, heads=2),
    labels=("dog", "a|b <script>"),
    training={"recipe": "sslam-tiny", "hours_of_audio": 12.3456},
)
FACTS = CardFacts(
    name="me/sounds",
    licence="mit",
    data="Twelve hours of a street.",
    datasets=("me/street",),
    scores=(Score("ESC-50", "accuracy", 0.91, note="linear probe"), Score("FSD50K", "mAP", 0.5)),
    notes="Not for speech.",
)


def test_the_hub_reads_the_front_matter() -> None:
    data = ModelCard(model_card(CONFIG, FACTS)).data
    assert data.license == "mit"
    assert data.library_name == "sslam"
    assert data.pipeline_tag == "audio-classification"
    assert data.datasets == ["me/street"]
    results = data.eval_results
    found = [(r.dataset_name, r.metric_type, r.metric_name, r.metric_value) for r in results]
    assert found == [
        ("ESC-50", "accuracy", "accuracy (linear probe)", 0.91),
        ("FSD50K", "map", "mAP", 0.5),
    ]


def test_every_fact_is_on_the_page() -> None:
    page = model_card(CONFIG, FACTS, parameters=1_234_567)
    for words in (
        "# me/sounds",
        'sslam.load_model("me/sounds")',
        "model.tag(",
        "1.2 million",
        "32 × 2 × 2",
        "Twelve hours of a street.",
        "| recipe | sslam-tiny |",
        "| hours of audio | 12.35 |",
        "| ESC-50 |  | accuracy | 0.91 | linear probe |",
        "dog",
        "Not for speech.",
    ):
        assert words in page


def test_nothing_known_is_said_so() -> None:
    page = model_card(AudioModelConfig(), CardFacts())
    matter = yaml.safe_load(page.split("---")[1])
    assert "license" not in matter and "datasets" not in matter and "model-index" not in matter
    assert matter["pipeline_tag"] == "feature-extraction"
    assert "does not say which recordings" in page and "Not stated" in page
    assert "## Scores" not in page and "## Classes" not in page and "model.tag" not in page


def test_labels_cannot_break_the_page() -> None:
    page = model_card(CONFIG, FACTS)
    assert "<script>" not in page and "a\\|b" in page


def test_many_classes_fold_away() -> None:
    config = CONFIG.model_copy(update={"labels": tuple(f"class {i}" for i in range(31))})
    assert "<details>" in model_card(config, FACTS)
    assert "<details>" not in model_card(CONFIG, FACTS)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="ESC-50 is nan"):
        model_card(CONFIG, CardFacts(scores=(Score("ESC-50", "mAP", float("nan")),)))
