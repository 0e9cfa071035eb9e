"""The safe reader: it reads what torch writes, and refuses the rest without running any of it."""

from __future__ import annotations

import argparse
import collections
import random
import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sslam.errors import CheckpointError
from sslam.weights.inert import Inert
from sslam.weights.restricted import read_torch_file
from tests.weights.hostile import (
    FLOATS,
    HOSTILE,
    archive,
    integer,
    named_call,
    state,
    storage,
    tensor,
)

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"
LIMIT_S = 1.0
LIMIT_BYTES = 2**28  # growth of the process's peak; the promise is 1 GiB


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused(name: str, tmp_path: Path) -> None:
    path, sentinel = tmp_path / "hostile.pt", tmp_path / "sentinel"
    HOSTILE[name](path, sentinel)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(CheckpointError) as refusal:
        read_torch_file(path)
    assert time.process_time() - start < LIMIT_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < LIMIT_BYTES
    assert not sentinel.exists()
    message = str(refusal.value)
    assert message.startswith(f"{path}: ") and message.isprintable() and len(message) < 400


def test_there_are_many_kinds_of_hostility() -> None:
    assert len(HOSTILE) >= 25


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("numpy.core.multiarray", "_reconstruct"), ("fairseq.tasks", "setup_task")],
)
@pytest.mark.parametrize("protocol4", [False, True])
def test_refusal_names_what_was_found(
    module: str, name: str, protocol4: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.pt"
    named_call(module, name, protocol4=protocol4)(path, tmp_path / "sentinel")
    with pytest.raises(CheckpointError, match=f"{module}.{name}"):
        read_torch_file(path)


def test_the_same_archive_without_harm_is_read(tmp_path: Path) -> None:
    """The hostile files fail for their harm, not for how they are written here."""
    path = tmp_path / "x.pt"
    content = np.arange(4, dtype="<f4").tobytes()
    archive(path, state(tensor((2, 2), (1, 2))), (("a/data/0", content),))
    found = read_torch_file(path)["model"]
    assert isinstance(found, dict)
    assert found["head.weight"].tolist() == [[0, 2], [1, 3]]


def test_inert_objects_record_and_do_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    body = b"cargparse\nNamespace\n)\x81}X\x01\x00\x00\x00aK\x07sb"
    archive(path, b"\x80\x02}X\x04\x00\x00\x00args" + body + b"s.")
    found = read_torch_file(path)["args"]
    assert isinstance(found, Inert) and not isinstance(found, argparse.Namespace)
    assert (found.name, found.args, found.state) == ("argparse.Namespace", (), {"a": 7})


DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_reads_what_torch_writes(dtype: torch.dtype, protocol: int, tmp_path: Path) -> None:
    base = torch.arange(24).remainder(5).to(dtype)
    written = {
        "flat": base,
        "view": base.view(2, 3, 4)[:, 1:, ::2].transpose(0, 2),
        "parameter": torch.nn.Parameter(base.float()),
        "scalar": torch.tensor(3).to(dtype),
        "empty": torch.empty(0, 5, dtype=dtype),
        "nested": collections.OrderedDict(a={"b": base[3:7]}, c=[1, -2.5, None, True, "ü", 2**40]),
        "tuple": ("x", (1, 2)),
        "args": argparse.Namespace(lr=[0.1]),
        "steps": collections.defaultdict(list, {1: [2]}),
    }
    path = tmp_path / "x.pt"
    torch.save(written, path, pickle_protocol=protocol)
    found = read_torch_file(path)
    assert list(found) == list(written)
    for name in ("flat", "view", "parameter", "scalar", "empty"):
        tensor_found = found[name]
        assert isinstance(tensor_found, torch.Tensor)
        assert tensor_found.dtype == written[name].dtype  # type: ignore[attr-defined]
        assert torch.equal(tensor_found, written[name])  # type: ignore[arg-type]
    nested = found["nested"]
    assert isinstance(nested, dict) and torch.equal(nested["a"]["b"], base[3:7])
    assert nested["c"] == written["nested"]["c"]  # type: ignore[index]
    assert found["tuple"] == ("x", (1, 2)) and found["steps"] == {1: [2]}


def test_agrees_with_torch_on_a_fairseq_checkpoint() -> None:
    path = CHECKPOINTS / "mini_plaincfg.pt"
    expected = torch.load(path, weights_only=True)
    found = read_torch_file(path)
    assert found["cfg"] == expected["cfg"]
    assert found["optimizer_history"] == expected["optimizer_history"]
    for part in (expected["model"], expected["model"]["_ema"]):
        ours = found["model"] if part is expected["model"] else found["model"]["_ema"]  # type: ignore[index]
        assert list(ours) == list(part)
        for name, value in part.items():
            if name != "_ema":
                assert torch.equal(ours[name], value)


def test_only_wanted_entries_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"model": {"a": torch.ones(3)}, "optimizer": {"b": torch.ones(9)}}, path)
    assert list(read_torch_file(path, keys=("model", "cfg"))) == ["model"]


def test_tensors_may_share_a_storage(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    shared = torch.arange(6.0)
    torch.save({"a": shared, "b": shared[2:], "c": shared}, path)
    found = read_torch_file(path)
    assert torch.equal(found["b"], shared[2:])  # type: ignore[arg-type]
    assert found["a"].data_ptr() == found["c"].data_ptr()  # type: ignore[attr-defined]


def test_cycles_do_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    loop: dict[str, object] = {"t": torch.ones(2)}
    loop["self"] = loop
    torch.save({"loop": loop}, path)
    found = read_torch_file(path)["loop"]
    assert isinstance(found, dict) and found["self"] is found
    assert torch.equal(found["t"], torch.ones(2))


def test_huge_claims_cost_nothing_before_the_check(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    block = storage(numel=2**50, kind=FLOATS)
    archive(path, state(tensor((2**50,), (1,), 0, block) + integer(1) + b"\x86"))
    with pytest.raises(CheckpointError, match=str(2**50)):
        read_torch_file(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        read_torch_file(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="directory"):
        read_torch_file(tmp_path)


def _flipped(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 8])):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _tensors(found: object) -> dict[str, torch.Tensor]:
    return {n: t for n, t in found.items() if isinstance(t, torch.Tensor)}  # type: ignore[attr-defined]


def test_flipped_bits_are_refused_or_harmless(tmp_path: Path) -> None:
    """Anywhere in the file: either an error of ours or the very same tensors."""
    clean = (CHECKPOINTS / "mini_dictcfg_oc206.pt").read_bytes()
    intact = _tensors(read_torch_file(CHECKPOINTS / "mini_dictcfg_oc206.pt")["model"])
    rng, path, refused = random.Random(0), tmp_path / "x.pt", 0
    for _ in range(150):
        path.write_bytes(_flipped(clean, rng))
        try:
            found = _tensors(read_torch_file(path).get("model", {}))
        except CheckpointError:
            refused += 1
            continue
        assert all(torch.equal(found[name], value) for name, value in intact.items())
    assert refused > 75


def test_flipped_bits_in_a_pickle_are_refused_or_harmless(tmp_path: Path) -> None:
    """Past the checksum: the pickle itself is damaged, inside a sound archive."""
    with zipfile.ZipFile(CHECKPOINTS / "mini_dictcfg_oc206.pt") as sound:
        files = {name.split("/", 1)[1]: sound.read(name) for name in sound.namelist()}
    pickled = files.pop("data.pkl")
    others = tuple((f"a/{name}", content) for name, content in files.items() if name != "version")
    most = sum(len(content) for content in files.values())
    assert len(_tensors(_read_back(tmp_path, pickled, others))) > 30
    rng, refused = random.Random(1), 0
    for _ in range(150):
        try:
            found = _tensors(_read_back(tmp_path, _flipped(pickled, rng), others))
        except CheckpointError:
            refused += 1
            continue
        assert all(t.nbytes <= most for t in found.values())
        for value in found.values():
            value.clone()  # every byte of it is really there
    assert refused > 20


def _read_back(folder: Path, pickled: bytes, others: tuple[tuple[str, bytes], ...]) -> object:
    archive(folder / "x.pt", pickled, others)
    return read_torch_file(folder / "x.pt").get("model", {})
