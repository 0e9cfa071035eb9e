"""A pickle read as data: a stack machine that runs nothing.

A pickle is a program: its opcodes may import any function and call it. This machine knows only the
opcodes that ``torch.save`` writes, and hands names and calls to :mod:`sslam.weights.inert`, which
records them; whatever else it meets ends the reading.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from sslam.weights.allowed import STORAGE_DTYPES
from sslam.weights.inert import (
    Inert,
    Name,
    RefusedError,
    Storage,
    call,
    find_name,
    put_items,
    put_list,
)

MAX_OPCODES = 200_000  # a large model with its Adam state needs about 60 000
MAX_NAME = 256  # bytes of a module or attribute name
MAX_INT_BYTES = 16
MAX_KEY = 9  # digits of a storage key
FRAME_BYTES = 8  # the length a FRAME announces; the reading does not need it


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
            name in STORAGE_DTYPES and len(key) <= MAX_KEY and key.isascii() and key.isdigit()
        ):
            found = Storage(name, key, numel)
        case _:
            raise RefusedError("it holds a persistent id that is not a torch storage")
    if numel < 0 or machine.storages.setdefault(key, found) != found:
        raise RefusedError(f"it describes storage {key} in two ways or with a negative size")
    machine.stack.append(found)


def _unknown_opcode(machine: Machine, code: int) -> str:
    name = next((op.name for op in pickletools.opcodes if ord(op.code) == code), None)
    if name is None:
        return "its pickle is damaged (a byte that is no opcode)"
    if name == "INST":
        find_name(machine.line(), machine.line())
    return f"its pickle uses the opcode {name}, which no checkpoint needs; nothing was run"


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
    def action(machine: Machine) -> None:
        index = key(machine)
        if index > MAX_OPCODES:
            raise RefusedError(f"its pickle remembers a value at the absurd index {index}")
        machine.memo[index] = machine.stack[-1]

    return action


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
