"""A pickle read as data: a stack machine that records what was asked for and runs none of it.

A pickle is a program: its opcodes may import any function and call it. This machine knows only the
opcodes that ``torch.save`` writes and only the names in :data:`ALLOWED`; whatever else it meets ends
the reading. A name is never imported: it stays a :class:`Name`. A call or an instance becomes an
:class:`Inert` record of the name, the arguments and the state. Tensors become :class:`TensorRef`,
bounds checked, without a byte read. No method of any foreign class can run, since no foreign class
is ever loaded.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from sslam.weights.allowed import ALLOWED, STORAGE_DTYPES

MAX_OPCODES = 400_000  # a published 12-layer checkpoint with its Adam state needs about 30 000
MAX_NAME = 256  # bytes of a module or attribute name
MAX_INT_BYTES = 16
MAX_DIMS = 8
INT32_MAX = 2**31 - 1
FRAME_BYTES = 8  # the length a FRAME announces; the reading does not need it


class RefusedError(Exception):
    """A reason, without the path, why a file is not read."""


@dataclass(frozen=True, slots=True)
class Name:
    """A ``module.attribute`` that the file mentions; nothing was imported."""

    name: str


@dataclass(slots=True, eq=False)
class Inert:
    """An object that the file wanted built: its class, arguments and state, as plain data."""

    name: str
    args: tuple[object, ...] = ()
    state: object = None


@dataclass(frozen=True, slots=True)
class Storage:
    """A typed block of ``numel`` elements, kept in the archive entry ``data/<key>``."""

    kind: str
    key: str
    numel: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorRef:
    """A strided view of a storage; all sizes are in elements and lie within the storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(slots=True)
class Machine:
    """The state of one reading. ``storages`` collects every storage that the pickle names."""

    data: bytes
    at: int = 0
    stack: list[object] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)

    def run(self) -> object:
        """Follow the opcodes to STOP and return the value left on the stack.

        Raises:
            RefusedError: a forbidden name or opcode, an impossible tensor, or a damaged stream.
        """
        for _ in range(MAX_OPCODES):
            code = self.take(1)[0]
            if code == STOP:
                return self.stack.pop()
            action = OPCODES.get(code)
            if action is None:
                raise RefusedError(_unknown_opcode(self, code))
            action(self)
        raise RefusedError(f"its pickle has more than {MAX_OPCODES} opcodes")

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        end = self.at + count
        if end > len(self.data):
            raise RefusedError("its pickle ends too early (truncated download?)")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def number(self, layout: str) -> int:
        """The next integer, in a ``struct`` layout."""
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return int(value)

    def line(self) -> str:
        """The next text up to a newline."""
        end = self.data.find(b"\n", self.at, self.at + MAX_NAME + 1)
        if end < 0:
            raise RefusedError("its pickle holds a name that does not end")
        text = self.data[self.at : end]
        self.at = end + 1
        return text.decode("utf-8", "replace")

    def since_mark(self) -> list[object]:
        """Pop everything above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def find_name(module: str, attribute: str) -> Name:
    """Look a name up in the fixed list; it is not imported."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    full = f"{module}.{attribute}"
    if full not in ALLOWED:
        shown = ascii(full)[1:-1][:80]
        raise RefusedError(f"it asks for {shown}, which no checkpoint needs; nothing was run")
    return Name(full)


def call(target: object, args: object) -> object:
    """Record a call. Only a few names mean a value here; the others become :class:`Inert`."""
    if not isinstance(target, Name) or not isinstance(args, tuple):
        raise RefusedError("it calls something that is not a plain name; nothing was run")
    kind = ALLOWED[target.name]
    if kind == "type":
        raise RefusedError(f"it calls {target.name}, which only names a type; nothing was run")
    builder = BUILDERS.get(target.name)
    return builder(args) if builder else Inert(target.name, args)


def scalar_key(key: object) -> object:
    """A dictionary key or set member: text, a small int or None, whose hash is cheap and fair."""
    if key is None or isinstance(key, str) or (isinstance(key, int) and abs(key) <= INT32_MAX):
        return key
    raise RefusedError(f"it uses a {type(key).__name__} as a dictionary key")


def put_items(target: object, items: list[object]) -> None:
    """``target[key] = value`` for alternating keys and values, on dictionaries made here only."""
    if type(target) is not dict or len(items) % 2:
        raise RefusedError("it stores items in something that is not a dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[scalar_key(key)] = value


def put_list(target: object, items: list[object]) -> None:
    """``target.extend(items)``, on lists made here only."""
    if type(target) is not list:
        raise RefusedError("it appends to something that is not a list")
    target.extend(items)


def build(machine: Machine) -> None:
    """BUILD: keep the state beside the object; ``__setstate__`` does not exist here."""
    state = machine.stack.pop()
    target = machine.stack[-1]
    if isinstance(target, Inert) and target.state is None:
        target.state = state
    elif type(target) is not dict or not isinstance(state, dict):
        raise RefusedError(f"it sets the state of a {type(target).__name__}")


def storage(machine: Machine) -> None:
    """BINPERSID: ``("storage", type, key, location, numel)``; sizes meet the archive later."""
    match machine.stack.pop():
        case ("storage", Name(name=name), str(key), str(), int(numel)) if (
            name in STORAGE_DTYPES and key.isascii() and key.isdigit() and len(key) <= 9
        ):
            found = Storage(name, key, numel)
        case _:
            raise RefusedError("it holds a persistent id that is not a torch storage")
    if numel < 0 or machine.storages.setdefault(key, found) != found:
        raise RefusedError(f"it describes storage {key} in two ways or with a negative size")
    machine.stack.append(found)


def rebuild_tensor(args: tuple[object, ...]) -> TensorRef:
    """``_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])``."""
    match args:
        case (Storage() as block, int(offset), tuple(size), tuple(stride), bool(), _, *rest) if (
            len(rest) <= 1
        ):
            return _bounded(block, offset, _integers(size), _integers(stride))
    raise RefusedError("it rebuilds a tensor from arguments of the wrong kind")


def _integers(values: tuple[object, ...]) -> tuple[int, ...]:
    numbers = tuple(v for v in values if type(v) is int and 0 <= v < 2**62)
    if len(numbers) != len(values) or len(values) > MAX_DIMS:
        raise RefusedError(f"it holds a tensor of impossible sizes or strides {values!s:.60}")
    return numbers


def _bounded(
    block: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> TensorRef:
    count, last = 1, offset
    for length, step in zip(size, stride, strict=False):
        count *= length
        last += max(length - 1, 0) * step
    inside = count == 0 or last < block.numel
    if len(size) != len(stride) or offset < 0 or count > block.numel or not inside:
        raise RefusedError(
            f"it holds a tensor {size} that reaches outside its storage of {block.numel} elements"
        )
    return TensorRef(block, offset, size, stride)


def rebuild_parameter(args: tuple[object, ...]) -> TensorRef:
    """``_rebuild_parameter(tensor, requires_grad, hooks)``: the tensor."""
    match args:
        case (TensorRef() as tensor, bool(), _):
            return tensor
    raise RefusedError("it rebuilds a parameter from arguments of the wrong kind")


def empty_mapping(args: tuple[object, ...]) -> dict[object, object]:
    """``OrderedDict()``, ``OrderedDict([[key, value], ...])`` or ``defaultdict(type)``: a dict."""
    match args:
        case () | (Name(),) | (None,):
            return {}
        case ([*pairs],):
            made: dict[object, object] = {}
            for pair in pairs:
                put_items(made, list(pair) if isinstance(pair, list | tuple) else [pair])
            return made
    raise RefusedError("it makes a mapping from arguments of the wrong kind")


def members(args: tuple[object, ...]) -> frozenset[object]:
    """``set([...])``: a frozen set of plain keys."""
    match args:
        case ([*items],):
            return frozenset(scalar_key(item) for item in items)
    raise RefusedError("it makes a set from arguments of the wrong kind")


def _unknown_opcode(machine: Machine, code: int) -> str:
    known = pickletools.code2op.get(chr(code))
    if known is None:
        return "its pickle is damaged (a byte that is no opcode)"
    if known.name == "INST":
        find_name(machine.line(), machine.line())
    return f"its pickle uses the opcode {known.name}, which no checkpoint needs; nothing was run"


def _push(read: Callable[[Machine], object]) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(read(m))


def _text(layout: str) -> Callable[[Machine], None]:
    return _push(lambda m: m.take(m.number(layout)).decode("utf-8"))


def _bytes(layout: str) -> Callable[[Machine], None]:
    return _push(lambda m: m.take(m.number(layout)))


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def action(machine: Machine) -> None:
        if len(machine.stack) < count:
            raise IndexError
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return action


def _long(machine: Machine) -> int:
    size = machine.number("<B")
    if size > MAX_INT_BYTES:
        raise RefusedError(f"it holds an integer of {size} bytes")
    return int.from_bytes(machine.take(size), "little", signed=True)


def _proto(machine: Machine) -> None:
    if machine.number("<B") > 5:
        raise RefusedError("its pickle has an unknown protocol")


def _stack_global(machine: Machine) -> Name:
    attribute, module = machine.stack.pop(), machine.stack.pop()
    if not isinstance(module, str) or not isinstance(attribute, str):
        raise RefusedError("it names something with a value that is not text")
    return find_name(module, attribute)


def _called(machine: Machine) -> object:
    args = machine.stack.pop()
    return call(machine.stack.pop(), args)


def _remember(key: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda m: m.memo.__setitem__(key(m), m.stack[-1])


def _one_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    put_items(machine.stack[-1], [key, value])


def _one_append(machine: Machine) -> None:
    value = machine.stack.pop()
    put_list(machine.stack[-1], [value])


def _many(put: Callable[[object, list[object]], None]) -> Callable[[Machine], None]:
    def action(machine: Machine) -> None:
        items = machine.since_mark()
        put(machine.stack[-1], items)

    return action


BUILDERS: dict[str, Callable[[tuple[object, ...]], object]] = {
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "collections.OrderedDict": empty_mapping,
    "collections.defaultdict": empty_mapping,
    "builtins.set": members,
}
_ACTIONS: dict[str, Callable[[Machine], object]] = {
    "PROTO": _proto,
    "FRAME": lambda m: m.take(FRAME_BYTES),
    "MARK": lambda m: m.marks.append(len(m.stack)),
    "NONE": _push(lambda m: None),
    "NEWTRUE": _push(lambda m: True),
    "NEWFALSE": _push(lambda m: False),
    "BININT": _push(lambda m: m.number("<i")),
    "BININT1": _push(lambda m: m.number("<B")),
    "BININT2": _push(lambda m: m.number("<H")),
    "LONG1": _push(_long),
    "BINFLOAT": _push(lambda m: struct.unpack(">d", m.take(8))[0]),
    "BINUNICODE": _text("<I"),
    "SHORT_BINUNICODE": _text("<B"),
    "BINBYTES": _bytes("<I"),
    "SHORT_BINBYTES": _bytes("<B"),
    "EMPTY_LIST": _push(lambda m: []),
    "EMPTY_TUPLE": _push(lambda m: ()),
    "EMPTY_DICT": _push(lambda m: {}),
    "TUPLE": _push(lambda m: tuple(m.since_mark())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _one_append,
    "APPENDS": _many(put_list),
    "SETITEM": _one_item,
    "SETITEMS": _many(put_items),
    "GLOBAL": _push(lambda m: find_name(m.line(), m.line())),
    "STACK_GLOBAL": _push(_stack_global),
    "REDUCE": _push(_called),
    "NEWOBJ": _push(_called),
    "BUILD": build,
    "BINPERSID": storage,
    "BINPUT": _remember(lambda m: m.number("<B")),
    "LONG_BINPUT": _remember(lambda m: m.number("<I")),
    "MEMOIZE": _remember(lambda m: len(m.memo)),
    "BINGET": _push(lambda m: m.memo[m.number("<B")]),
    "LONG_BINGET": _push(lambda m: m.memo[m.number("<I")]),
}
OPCODES = {ord(op.code): _ACTIONS[op.name] for op in pickletools.opcodes if op.name in _ACTIONS}
STOP = ord(".")
