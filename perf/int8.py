"""The exported graph with 8-bit weights beside the float32 one, and torch, on one thread.

    python perf/int8.py [--quick] [--models sslam-tiny base]

All take turns on the same 10-s wave, and so do a product of the runtime in float32 and in 8 bits:
where the processor multiplies 8-bit numbers no faster, a graph of them cannot be faster either.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.embed import opened
from perf.measure import Figure, cpu_ratio, in_turns, ratio

from sslam.errors import require_extra
from sslam.integrations.int8 import compare, quantize_int8, sounds
from sslam.integrations.onnx import EXTRA, export_onnx, open_session, quiet
from sslam.weights.zoo import SHIPPED

CLIP_S = 10.0
PRODUCT = (512, 768, 3072)  # of the first MLP layer of the base size
LEAST_TIMES, LEAST_COSINE = 1.7, 0.99


def figures(quick: bool, models: tuple[str, ...] | None = None) -> list[Figure]:
    """The figures of each model."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    chosen = models or (SHIPPED if quick else (*SHIPPED, "base"))
    found = [figure for name in chosen for figure in model_figures(name, 3 if quick else 9)]
    torch.set_num_threads(threads)
    return found


@torch.inference_mode()
def model_figures(name: str, turns: int) -> list[Figure]:
    """Clips a second of the float graph and of torch, their ratios to 8 bits, and the likeness."""
    torch.manual_seed(0)
    model = opened(name)
    with tempfile.TemporaryDirectory(prefix="sslam-perf-") as scratch:
        usual, quick = Path(scratch) / "float.onnx", Path(scratch) / "int8.onnx"
        with torch.inference_mode(False):
            export_onnx(model, usual)
        quantize_int8(usual, quick)
        waves = sounds(CLIP_S)[:: 4 if turns < 9 else 1]
        alike = compare(usual, quick, waves, CLIP_S)
        wave = torch.from_numpy(waves[0])[None]
        work: dict[str, Callable[[], object]] = {
            "torch": lambda: model.clip_tokens(wave),
            "float": runner(usual, wave),
            "int8": runner(quick, wave),
            **products(Path(scratch)),
        }
        times = in_turns(work, turns)
    product = ratio(times["float product"], times["int8 product"])
    where = f"{name}, 10-s clips, one thread"
    return [
        Figure(f"onnxruntime {where}: float32", 1 / times["float"].wall, "clips/s"),
        Figure(f"onnxruntime {where}: int8", 1 / times["int8"].wall, "clips/s"),
        Figure(f"torch {where}: float32", 1 / times["torch"].wall, "clips/s"),
        Figure(
            f"int8 {where}: times onnxruntime's float32",
            ratio(times["float"], times["int8"]),
            "x",
            at_least=LEAST_TIMES,
            note=f"processor time {cpu_ratio(times['float'], times['int8']):.2f}",
            bound=f"an 8-bit product of the runtime is {product:.2f} times as fast as a float32 "
            "one on this processor",
        ),
        Figure(f"int8 {where}: times torch's", ratio(times["torch"], times["int8"]), "x"),
        Figure("an 8-bit product: times the float32 product's rate", product, "x"),
        Figure(
            f"int8 {where}: lowest cosine of clip vectors",
            alike.lowest_cosine,
            "",
            at_least=LEAST_COSINE,
        ),
        Figure(f"int8 {where}: size over the float32 file's", alike.size, "", more_is_better=False),
    ]


def runner(path: Path, wave: torch.Tensor) -> Callable[[], object]:
    """A graph on the wave, for its clip vector."""
    session = open_session(path)
    inputs = {"wave": wave.numpy(), "samples": np.array([wave.shape[1]], dtype=np.int64)}
    return lambda: session.run(["clip"], inputs)


def products(scratch: Path) -> dict[str, Callable[[], object]]:
    """A matrix product with fixed weights in the runtime: as it is, and in 8 bits."""
    onnx: Any = require_extra("onnx", EXTRA)
    quantization: Any = require_extra("onnxruntime.quantization", EXTRA)
    rows, inner, columns = PRODUCT
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal(s).astype(np.float32) for s in (PRODUCT[:2], PRODUCT[1:]))
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", kind, [rows, inner])],
        [helper.make_tensor_value_info("product", kind, [rows, columns])],
        [onnx.numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    paths = {f"{name} product": scratch / f"{name}-product.onnx" for name in ("float", "int8")}
    onnx.save(model, str(paths["float product"]))
    with quiet():
        quantization.quantize_dynamic(
            model, str(paths["int8 product"]), weight_type=quantization.QuantType.QUInt8
        )
    sessions = {name: open_session(path) for name, path in paths.items()}
    return {
        name: lambda session=session: session.run(None, {"left": left})  # type: ignore[misc]
        for name, session in sessions.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns, the shipped model alone")
    parser.add_argument("--models", nargs="+", help="models, or sizes of random weights")
    args = parser.parse_args()
    models = tuple(args.models) if args.models else None
    for figure in figures(args.quick, models):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
