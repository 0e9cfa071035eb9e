"""The exported graph computes what torch does, for sizes it was not traced with, or is refused."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sslam.cli.main import main
from sslam.errors import MissingExtraError, SslamError
from sslam.features.front_end import FrontEnd, FrontEndConfig
from sslam.integrations import onnx as exporting
from sslam.integrations.int8 import compare, quantize_int8, sounds
from sslam.integrations.onnx import GraphFrontEnd, export_onnx, largest_deviation, open_session
from sslam.model.audio_model import AudioModel

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")


@dataclass(frozen=True)
class Run:
    graph: Path
    int8: Path
    said: list[str]


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One call of the command, since tracing takes most of the time of these tests."""
    out = tmp_path_factory.mktemp("graphs") / "model.onnx"
    text = io.StringIO()
    with redirect_stdout(text):
        assert main(["export", "--model", str(folder), "--out", str(out), "--int8"]) == 0
    return Run(out, out.with_suffix(".int8.onnx"), text.getvalue().splitlines())


def _run(session: Any, wave: torch.Tensor, samples: list[int]) -> dict[str, np.ndarray]:
    inputs = {"wave": wave.numpy(), "samples": np.array(samples, dtype=np.int64)}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.parametrize(
    "samples", [[400], [2_959], [16_000, 5_000, 400], [40_000] * 5, [163_840, 31_111]]
)
def test_any_batch_and_any_length(model: AudioModel, exported: Run, samples: list[int]) -> None:
    wave = torch.randn(len(samples), max(samples), generator=torch.Generator().manual_seed(5)) / 9
    found = _run(open_session(exported.graph), wave, samples)
    with torch.inference_mode():
        features = model(wave, torch.tensor(samples))
        logits = model.logits(features)
    assert found["times"].tolist() == features.times.tolist()
    wanted = [features.cls, features.frames, features.patches, logits]
    for name, want in zip(["clip", "frames", "patches", "logits"], wanted, strict=True):
        assert found[name].shape == want.shape
        np.testing.assert_allclose(found[name], want, atol=1e-4)


def test_padding_changes_nothing(exported: Run) -> None:
    session = open_session(exported.graph)
    wave = torch.randn(1, 9_000, generator=torch.Generator().manual_seed(6))
    alone = _run(session, wave, [9_000])
    padded = _run(session, torch.nn.functional.pad(wave, (0, 30_000), value=0.5), [9_000])
    np.testing.assert_allclose(padded["clip"], alone["clip"], atol=1e-5)
    np.testing.assert_allclose(padded["logits"], alone["logits"], atol=1e-5)


def test_the_file_says_what_it_is(exported: Run) -> None:
    facts = {each.key: each.value for each in onnx.load(str(exported.graph)).metadata_props}
    assert json.loads(facts["labels"]) == ["dog", "Straße", "rain"]
    assert facts["rate_hz"] == "16000" and facts["frame_hop_ms"] == "160"
    assert facts["activation"] == "sigmoid"


def test_the_command_reports_its_checks(exported: Run) -> None:
    first, second = exported.said
    assert "largest difference from torch" in first and "e-0" in first
    assert "times as fast" in second and "cosine" in second


def test_int8_is_like_the_float_graph_but_smaller(exported: Run) -> None:
    found = compare(exported.graph, exported.int8, sounds(2.0), 2.0)
    assert found.lowest_cosine > 0.99
    assert found.lowest_cosine < 1.0  # it is another graph
    assert found.size < 1
    kinds = [node.op_type for node in onnx.load(str(exported.int8)).graph.node]
    assert "MatMulInteger" in kinds


def test_int8_leaves_the_front_end_alone(exported: Run) -> None:
    graph = onnx.load(str(exported.int8)).graph
    kept = {name for node in graph.node if node.op_type == "MatMul" for name in node.input}
    assert {"front_end.transform", "front_end.bank"} <= kept


def test_int8_refuses_another_graph(tmp_path: Path) -> None:
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    other = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_model(helper.make_graph([node], "g", [value], [other]))
    onnx.save(graph, str(tmp_path / "other.onnx"))
    with pytest.raises(SslamError, match="no front end"):
        quantize_int8(tmp_path / "other.onnx", tmp_path / "small.onnx")
    assert not (tmp_path / "small.onnx").exists()


def test_a_graph_that_differs_is_not_written(
    model: AudioModel, exported: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(9)
    other = AudioModel(model.config).eval()
    assert largest_deviation(other, exported.graph) > 0.1

    def wrong(_: AudioModel, path: Path) -> None:
        path.write_bytes(exported.graph.read_bytes())

    monkeypatch.setattr(exporting, "_write", wrong)
    with pytest.raises(SslamError, match="differs from torch"):
        export_onnx(other, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_the_extra(
    model: AudioModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"sslam\[export\]"):
        export_onnx(model, tmp_path / "model.onnx")


@pytest.mark.parametrize("samples", [[400, 400], [16_000, 5_555], [30_001, 30_001]])
def test_the_front_end_of_the_graph_is_that_of_the_model(samples: list[int]) -> None:
    usual = FrontEnd(FrontEndConfig(mean=-5.0, std=3.0))
    wave = torch.randn(2, max(samples), generator=torch.Generator().manual_seed(2)) / 5 + 0.3
    sizes = torch.tensor(samples)
    wanted = usual(wave, sizes)
    logmel, real = GraphFrontEnd(usual)(wave, sizes)
    assert torch.equal(real, wanted.frames)
    assert logmel.shape == wanted.logmel.shape
    difference = (logmel - wanted.logmel).abs()
    assert float(difference.max()) < 1e-3
    assert float(difference.mean()) < 1e-5


def test_command_lines_that_make_no_sense(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--model", str(folder), "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    out = str(tmp_path / "m.onnx")
    assert main(["export", "--model", str(folder), "--out", out, "--check", "x.wav"]) == 2
    assert "--int8" in capsys.readouterr().err
