"""Our folders through the Auto classes give what our own model gives, and come back the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sslam.errors import InputError
from sslam.features.logmel import LogMel
from sslam.model.audio_model import AudioModel, Features
from sslam.weights.native import fingerprint, load_folder

hf = pytest.importorskip("transformers", reason="the extra `hf` is not installed")

from sslam.integrations import transformers as ours  # noqa: E402

ours.register()


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Any:
    return hf.AutoModelForAudioClassification.from_pretrained(folder)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Any:
    return hf.AutoModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def extractor(folder: Path) -> Any:
    return hf.AutoFeatureExtractor.from_pretrained(folder)


def _native(model: AudioModel, wave: Tensor) -> Features:
    with torch.no_grad():
        return model(wave[None])


@torch.inference_mode()
def test_padded_batches_give_what_our_model_gives_alone(
    model: AudioModel, encoder: Any, classifier: Any, extractor: Any, waves: list[Tensor]
) -> None:
    batch = extractor([wave.numpy() for wave in waves], sampling_rate=16_000, return_tensors="pt")
    vectors, scores = encoder(**batch), classifier(**batch)
    for row, wave in enumerate(waves):
        alone = _native(model, wave)
        real = int(alone.times[0])
        assert vectors.frame_mask[row].sum() == real
        torch.testing.assert_close(vectors.frames[row, :real], alone.frames[0, :real])
        torch.testing.assert_close(vectors.pooler_output[row], alone.cls[0])
        torch.testing.assert_close(scores.logits[row], model.logits(alone)[0])


def test_encoder_has_no_classifier_and_saves_none(encoder: Any, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    loaded = load_folder(tmp_path)
    assert loaded.classifier is None
    assert loaded.config.labels == ()


def test_what_transformers_saves_is_a_folder_of_ours(
    model: AudioModel, classifier: Any, tmp_path: Path
) -> None:
    classifier.save_pretrained(tmp_path)
    loaded = load_folder(tmp_path)
    assert loaded.config == model.config
    assert fingerprint(loaded) == fingerprint(model)


def test_a_configuration_survives_its_own_file(classifier: Any, tmp_path: Path) -> None:
    classifier.config.save_pretrained(tmp_path)
    again = hf.AutoConfig.from_pretrained(tmp_path)
    assert again.native() == classifier.config.native()
    assert again.id2label == {0: "dog", 1: "Straße", 2: "rain"}
    assert (again.hidden_size, again.num_hidden_layers, again.num_attention_heads) == (32, 2, 2)


def test_new_classes_start_a_new_classifier(folder: Path, tmp_path: Path) -> None:
    names = {0: "a", 1: "b", 2: "c", 3: "d"}
    fresh, info = hf.AutoModelForAudioClassification.from_pretrained(
        folder,
        id2label=names,
        problem_type="single_label_classification",
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    assert {key[0] for key in info["mismatched_keys"]} == {
        "classifier.head.weight",
        "classifier.head.bias",
    }
    assert fresh.classifier.head.weight.shape == (4, 32)
    assert 0.01 < float(fresh.classifier.head.weight.detach().std()) < 0.04
    assert not fresh.classifier.head.bias.any()
    fresh.save_pretrained(tmp_path)
    config = load_folder(tmp_path).config
    assert config.labels == ("a", "b", "c", "d") and config.single_label


@pytest.mark.parametrize("single", [True, False])
def test_the_loss_reaches_every_weight(folder: Path, waves: list[Tensor], single: bool) -> None:
    kind = "single_label_classification" if single else "multi_label_classification"
    network = hf.AutoModelForAudioClassification.from_pretrained(folder, problem_type=kind)
    network.train()
    labels = torch.tensor([0, 2]) if single else torch.tensor([[1, 0, 1], [0, 0, 1]])
    output = network(torch.stack([waves[0][:8000], waves[2][:8000]]), labels=labels)
    output.loss.backward()
    chosen = output.logits.softmax(1) if single else output.logits.sigmoid()
    if single:
        wanted = -(chosen[0, 0].log() + chosen[1, 2].log()) / 2
    else:
        truth = labels.bool()
        wanted = -torch.where(truth, chosen, 1 - chosen).log().mean()
    torch.testing.assert_close(output.loss, wanted)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@torch.inference_mode()
@pytest.mark.parametrize("when", ["loading", "later"])
def test_the_front_end_stays_exact_in_bfloat16(
    folder: Path, classifier: Any, waves: list[Tensor], when: str
) -> None:
    dtype = torch.bfloat16 if when == "loading" else torch.float32
    network = hf.AutoModelForAudioClassification.from_pretrained(folder, dtype=dtype)
    network = network.to(torch.bfloat16)
    exact = LogMel()
    assert network.encoder.cls.dtype == torch.bfloat16
    assert torch.equal(network.front_end.log_mel.bank, exact.bank)
    assert torch.equal(network.front_end.log_mel.window, exact.window)
    wave = waves[0][None]
    scores, wanted = network(wave).logits.float(), classifier(wave).logits
    torch.testing.assert_close(scores, wanted, atol=0.03, rtol=0)


def test_the_pipeline_names_the_classes(
    model: AudioModel, folder: Path, waves: list[Tensor]
) -> None:
    tagger = hf.pipeline("audio-classification", model=str(folder), device="cpu")
    found = tagger([wave.numpy() for wave in waves], batch_size=2)
    for answer, wave in zip(found, waves, strict=True):
        scores = torch.sigmoid(model.logits(_native(model, wave)))[0].detach()
        wanted = dict(zip(model.config.labels, scores.tolist(), strict=True))
        assert {each["label"]: each["score"] for each in answer} == pytest.approx(wanted, abs=1e-5)
        assert [each["score"] for each in answer] == sorted(wanted.values(), reverse=True)


def test_the_extractor_takes_every_form_of_audio(extractor: Any) -> None:
    wave = np.linspace(-1, 1, 1000, dtype=np.float32)
    for audio in (wave, wave.tolist(), [wave], wave[None], torch.from_numpy(wave)):
        batch = extractor(audio, sampling_rate=16_000)
        assert batch["input_values"].dtype == np.float32
        np.testing.assert_array_equal(batch["input_values"], wave[None])
        np.testing.assert_array_equal(batch["attention_mask"], np.ones((1, 1000)))


@pytest.mark.parametrize(
    ("audio", "rate", "said"),
    [
        (np.zeros(1000), 44_100, "44100 Hz"),
        ([np.zeros((2, 1000))], 16_000, "mono"),
        (np.zeros(0), 16_000, "S > 0"),
        ([], 16_000, "S > 0"),
    ],
)
def test_the_extractor_refuses(extractor: Any, audio: Any, rate: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        extractor(audio, sampling_rate=rate)


def test_nothing_else_imports_transformers() -> None:
    code = (
        "import sys, sslam.weights.publish, sslam.integrations.hear, sslam.integrations.onnx;"
        "sys.exit(any(m.split('.')[0] in ('transformers', 'onnx', 'onnxruntime')"
        " for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
