"""Hostile checkpoints, made here: each would do harm, or much work, in a trusting reader.

``HOSTILE`` maps a name to a function that writes the file, given a sentinel path that the payload
would create if any of it ran.
"""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

Maker = Callable[[Path, Path], None]

FLOATS = b"c" + b"torch\nFloatStorage\n"
REBUILD = b"c" + b"torch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    """BINUNICODE."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    """LONG1, or BININT where it fits."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def integers(values: tuple[int, ...]) -> bytes:
    """MARK, the integers, TUPLE."""
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(key: str = "0", numel: int = 4, kind: bytes = FLOATS) -> bytes:
    """A persistent id of a storage."""
    return b"(" + text("storage") + kind + text(key) + text("cpu") + integer(numel) + b"tQ"


def tensor(
    size: tuple[int, ...] = (4,),
    stride: tuple[int, ...] = (1,),
    offset: int = 0,
    block: bytes | None = None,
) -> bytes:
    """A rebuilt tensor."""
    arguments = (block or storage()) + integer(offset) + integers(size) + integers(stride)
    return REBUILD + b"(" + arguments + b"\x89}tR"


def state(value: bytes) -> bytes:
    """A whole pickle of ``{"model": {"head.weight": value}}``."""
    return b"\x80\x02}" + text("model") + b"}" + text("head.weight") + value + b"ss."


def archive(
    path: Path,
    pickled: bytes,
    entries: tuple[tuple[str, bytes], ...] = (("a/data/0", bytes(16)),),
    compression: int = zipfile.ZIP_STORED,
) -> None:
    """A torch archive with this pickle."""
    with zipfile.ZipFile(path, "w", compression) as made:
        made.writestr("a/data.pkl", pickled)
        made.writestr("a/version", b"3\n")
        for name, content in entries:
            made.writestr(name, content)


class _Calls:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def named_call(module: str, name: str, *, protocol4: bool = False) -> Maker:
    """A call of ``module.name("touch <sentinel>")``."""

    def make(path: Path, sentinel: Path) -> None:
        if protocol4:
            found = text(module) + text(name) + b"\x93"
        else:
            found = f"c{module}\n{name}\n".encode()
        archive(path, state(found + b"(" + text(f"touch {sentinel}") + b"tR"))

    return make


def pickled(function: Callable[..., object], *arguments: str, protocol: int = 2) -> Maker:
    """What Python's own pickler makes of a call; "SENTINEL" in an argument is the path."""

    def make(path: Path, sentinel: Path) -> None:
        filled = [
            a.replace("SENTINEL", str(sentinel)) if isinstance(a, str) else a for a in arguments
        ]
        payload = {"model": {"head.weight": _Calls(function, *filled)}}
        archive(path, pickle.dumps(payload, protocol=protocol))

    return make


def stream(body: bytes) -> Maker:
    """A value in the state dictionary; SENTINEL is not used."""
    return lambda path, _: archive(path, state(body))


def raw(content: bytes) -> Maker:
    """A pickle given whole."""
    return lambda path, _: archive(path, content)


def entries(*named: tuple[str, bytes]) -> Maker:
    """A harmless pickle beside these entries."""
    return lambda path, _: archive(path, state(tensor()), named)


def _inst(path: Path, sentinel: Path) -> None:
    archive(path, state(b"(" + text(f"touch {sentinel}") + b"iposix\nsystem\n"))


def _object(path: Path, sentinel: Path) -> None:
    archive(path, state(b"(cposix\nsystem\n" + text(f"touch {sentinel}") + b"o"))


def _protocol0(path: Path, sentinel: Path) -> None:
    archive(path, f"cos\nsystem\n(S'touch {sentinel}'\ntR.".encode())


def _bare_pickle(path: Path, sentinel: Path) -> None:
    path.write_bytes(f"cos\nsystem\n(S'touch {sentinel}'\ntR.".encode())


def _legacy(path: Path, sentinel: Path) -> None:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    path.write_bytes(magic + f"cos\nsystem\n(S'touch {sentinel}'\ntR.".encode())


def _second_after_stop(path: Path, sentinel: Path) -> None:
    archive(path, b"\x80\x02]." + f"cos\nsystem\n(S'touch {sentinel}'\ntR.".encode())


def _getattr_chain(path: Path, sentinel: Path) -> None:
    chain = b"cbuiltins\ngetattr\n(c" + b"builtins\n__import__\n" + text("system") + b"tR"
    archive(path, state(chain + b"(" + text(f"touch {sentinel}") + b"tR"))


def _nested_pickle(path: Path, sentinel: Path) -> None:
    inner = f"cos\nsystem\n(S'touch {sentinel}'\ntR.".encode()
    body = b"cpickle\nloads\n(B" + struct.pack("<I", len(inner)) + inner + b"tR"
    archive(path, state(body))


def _deflated(path: Path, _: Path) -> None:
    archive(path, state(tensor()), (("a/data/0", bytes(32 * 2**20)),), zipfile.ZIP_DEFLATED)


def _compressed_pickle(path: Path, _: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/data.pkl", b"\x80\x02" + b"N" * (20 * 2**20) + b".")


def _many_entries(path: Path, _: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a/data.pkl", state(tensor()))
        for index in range(8_000):
            made.writestr(zipfile.ZipInfo(f"a/{'data' * 25}/{index}"), b"")


def _twice(path: Path, sentinel: Path) -> None:
    archive(path, state(tensor()), (("a/data/0", bytes(16)),))
    with zipfile.ZipFile(path, "a") as made, warnings.catch_warnings(action="ignore"):
        made.writestr("a/data.pkl", f"cos\nsystem\n(S'touch {sentinel}'\ntR.")


def _overlap(path: Path, _: Path) -> None:
    """Fifty directory records that all show the same large entry."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a/data.pkl", state(tensor()))
        made.writestr("a/data/0", bytes(2**20))
        first = made.getinfo("a/data/0")
        for index in range(1, 50):
            copy = zipfile.ZipInfo(f"a/data/{index}")
            copy.file_size = copy.compress_size = first.file_size
            copy.CRC, copy.header_offset = first.CRC, first.header_offset
            made.filelist.append(copy)
            made.NameToInfo[copy.filename] = copy


def _amplified(path: Path, _: Path) -> None:
    """A thousand tensors, each the whole of one storage of a megabyte."""
    count = 2**18
    one = tensor((count,), (1,), 0, storage("0", count))
    items = b"".join(text(f"blocks.{i}.norm1.weight") + one for i in range(1000))
    body = b"\x80\x02}" + text("model") + b"}(" + items + b"us."
    archive(path, body, (("a/data/0", bytes(4 * count)),))


def _short(keep: float) -> Maker:
    def make(path: Path, sentinel: Path) -> None:
        archive(path, state(tensor()))
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return make


def _run_in_inert_state(path: Path, sentinel: Path) -> None:
    """A stand-in whose state is a call."""
    call = b"cos\nsystem\n(" + text(f"touch {sentinel}") + b"tR"
    archive(
        path, state(b"comegaconf.dictconfig\nDictConfig\n)\x81}" + text("_content") + call + b"sb")
    )


HOSTILE: dict[str, Maker] = {
    "os.system": named_call("os", "system"),
    "posix.system": named_call("posix", "system"),
    "nt.system": named_call("nt", "system"),
    "subprocess.Popen": named_call("subprocess", "Popen"),
    "builtins.eval": pickled(eval, "open('SENTINEL', 'w')"),
    "builtins.exec": pickled(exec, "open('SENTINEL', 'w')"),
    "py2 eval": named_call("__builtin__", "eval"),
    "builtins.open": pickled(open, "SENTINEL", "w"),
    "protocol 4": pickled(eval, "open('SENTINEL', 'w')", protocol=4),
    "protocol 5": pickled(exec, "open('SENTINEL', 'w')", protocol=5),
    "stack global": named_call("os", "system", protocol4=True),
    "getattr chain": _getattr_chain,
    "nested pickle": _nested_pickle,
    "pickle after stop": _second_after_stop,
    "torch.load": named_call("torch", "load"),
    "torch.serialization._load": named_call("torch.serialization", "_load"),
    "torch._utils._rebuild_qtensor": named_call("torch._utils", "_rebuild_qtensor"),
    "functools.partial": named_call("functools", "partial"),
    "operator.attrgetter": named_call("operator", "attrgetter"),
    "operator.methodcaller": named_call("operator", "methodcaller"),
    "codecs.open": named_call("codecs", "open"),
    "importlib.import_module": named_call("importlib", "import_module"),
    "runpy": named_call("runpy", "run_path"),
    "shutil.rmtree": named_call("shutil", "rmtree"),
    "webbrowser.open": named_call("webbrowser", "open"),
    "types.FunctionType": named_call("types", "FunctionType"),
    "copyreg._reconstructor": named_call("copyreg", "_reconstructor"),
    "numpy object array": named_call("numpy.core.multiarray", "_reconstruct"),
    "numpy.load": named_call("numpy", "load"),
    "omegaconf outside the list": named_call("omegaconf.resolvers", "oc.env"),
    "omegaconf.OmegaConf.load": named_call("omegaconf", "OmegaConf.load"),
    "fairseq outside the list": named_call("fairseq.file_utils", "load_archive_file"),
    "dotted name": named_call("collections", "OrderedDict.fromkeys"),
    "dotted name, stack global": named_call("collections", "OrderedDict.fromkeys", protocol4=True),
    "dunder of an allowed name": named_call("argparse", "Namespace.__init__.__globals__"),
    "sub-name of an allowed module": named_call("collections", "abc.sys.modules"),
    "call of a type": stream(b"cbuiltins\ndict\n]\x85R"),
    "call of a storage type": stream(FLOATS + integer(10**9) + b"\x85R"),
    "call of a made object": stream(b"cargparse\nNamespace\n)\x81)R"),
    "call inside a stand-in's state": _run_in_inert_state,
    "INST": _inst,
    "OBJ": _object,
    "EXT1": stream(b"\x82\x01"),
    "EXT4": stream(b"\x84\x01\x00\x00\x00"),
    "PERSID": stream(b"Pstorage\n"),
    "NEWOBJ_EX": stream(b"cargparse\nNamespace\n)}\x92"),
    "protocol 0": _protocol0,
    "bare pickle": _bare_pickle,
    "legacy torch": _legacy,
    "state of a name": stream(b"cargparse\nNamespace\n}" + text("x") + b"Nsb"),
    "state of a list": stream(b"]}b"),
    "items of a stand-in": stream(b"cargparse\nNamespace\n)\x81" + text("x") + b"Ns"),
    "append to a stand-in": stream(b"cargparse\nNamespace\n)\x81Na"),
    "unhashable key": stream(b"}]Ns"),
    "long key": stream(b"}" + integer(2**61 - 1) + b"Ns"),
    "persistent id of text": stream(text("../../etc/passwd") + b"Q"),
    "persistent id with a path": stream(tensor(block=storage("../x"))),
    "persistent id of a class": stream(tensor(block=storage(kind=b"cargparse\nNamespace\n"))),
    "persistent id, negative": stream(tensor(block=storage(numel=-4))),
    "storage claimed larger": stream(tensor(block=storage(numel=10**12))),
    "storage claimed smaller": stream(tensor((2,), (1,), 0, storage(numel=2))),
    "storage that is absent": stream(tensor(block=storage("7"))),
    "storage with two types": stream(
        b"(" + tensor() + tensor(block=storage(kind=b"ctorch\nIntStorage\n")) + b"t"
    ),
    "storage of another width": stream(tensor(block=storage(kind=b"ctorch\nDoubleStorage\n"))),
    "absurd size": stream(tensor((2**40, 2**40), (1, 1))),
    "absurd size, zero stride": stream(tensor((2**40,), (0,))),
    "negative stride": stream(tensor((4,), (-1,), 3)),
    "negative offset": stream(tensor((4,), (1,), -4)),
    "negative size": stream(tensor((-4,), (1,))),
    "offset past the end": stream(tensor((4,), (1,), 1)),
    "stride past the end": stream(tensor((4,), (2,))),
    "sizes without strides": stream(tensor((2, 2), (1,))),
    "too many dimensions": stream(tensor((1,) * 64, (1,) * 64)),
    "size of a text": stream(REBUILD + b"(" + storage() + integer(0) + text("4") + b")\x89}tR"),
    "tensor without arguments": stream(REBUILD + b")R"),
    "dimension overflow": stream(tensor((0, 2**61, 2**61), (1, 1, 1))),
    "deep lists": stream(b"]" * 80_000 + b"a" * 79_999),
    "deep tuples": stream(b")" + b"\x85" * 90_000),
    "self-holding list": raw(b"\x80\x02]q\x00h\x00a."),
    "endless nothing": raw(b"\x80\x02" + b"N" * 4_000_000 + b"."),
    "huge memo index": stream(b"Nr\xff\xff\xff\xff"),
    "absent memo": stream(b"j\xff\xff\xff\x7f"),
    "long text that is not there": stream(b"X\xff\xff\xff\xffabc"),
    "long bytes that are not there": stream(b"\x8e" + struct.pack("<Q", 2**62)),
    "long integer": stream(b"\x8b" + struct.pack("<i", 2**30)),
    "long name": stream(b"c" + b"a" * 100_000 + b"\nb\n"),
    "newlines in a name": stream(text("os\nsystem\n") + text("x\x1b[31m") + b"\x93"),
    "pickle over the limit": raw(b"\x80\x02" + text("a" * (17 * 2**20)) + b"."),
    "unknown protocol": raw(b"\x80\x63N."),
    "stack underflow": raw(b"\x80\x02s."),
    "no mark": raw(b"\x80\x02t."),
    "no end": raw(b"\x80\x02}"),
    "not a dictionary": raw(b"\x80\x02]."),
    "empty pickle": raw(b""),
    "entry with ..": entries(("a/../../evil", b"x")),
    "entry with an absolute path": entries(("/etc/cron.d/evil", b"x")),
    "entry with a backslash": entries(("a/..\\evil", b"x")),
    "entry with a drive": entries(("C:/evil", b"x")),
    "second data.pkl": _twice,
    "other folder's data.pkl": entries(("b/data.pkl", b"\x80\x02}.")),
    "big-endian": entries(("a/byteorder", b"big"), ("a/data/0", bytes(16))),
    "compressed storage": _deflated,
    "compressed pickle": _compressed_pickle,
    "too many entries": _many_entries,
    "overlapping entries": _overlap,
    "one storage a thousand times": _amplified,
    "cut to 90 %": _short(0.9),
    "cut to half": _short(0.5),
    "cut to a tenth": _short(0.1),
    "empty file": lambda path, _: path.write_bytes(b""),
    "not a zip": lambda path, _: path.write_bytes(b"RIFF" + bytes(1000)),
    "only a signature": lambda path, _: path.write_bytes(b"PK\x03\x04"),
    "only an end record": lambda path, _: path.write_bytes(b"PK\x05\x06" + bytes(18)),
    "zip without a pickle": lambda path, _: zipfile.ZipFile(path, "w").writestr("a/b", "x"),
    "tar": lambda path, _: path.write_bytes(bytes(257) + b"ustar" + bytes(2000)),
}
