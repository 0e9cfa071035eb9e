"""What a pickle asks for, as data: names, records and tensor references; and what a call means.

A name is never imported: it stays a :class:`Name`. A call or an instance becomes an :class:`Inert`
record of the name, the arguments and the state. A tensor becomes a :class:`TensorRef`, bounds
checked, without a byte read. No foreign method can run, since no foreign class is ever loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from sslam.weights.allowed import ALLOWED

MAX_DIMS = 8
INT32_MAX = 2**31 - 1


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
        raise RefusedError("it holds a tensor of impossible sizes or strides")
    return numbers


def _bounded(
    block: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> TensorRef:
    if len(size) != len(stride) or offset < 0:
        raise RefusedError("it holds a tensor of impossible sizes or strides")
    empty = 0 in size
    count = math.prod(length or 1 for length in size)  # of an empty tensor: how absurd it is
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count > (INT32_MAX if empty else block.numel) or (not empty and last >= block.numel):
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
    """``OrderedDict()`` or ``defaultdict(type)``: a plain dict; its items follow."""
    match args:
        case () | (Name(),) | (None,):
            return {}
    raise RefusedError("it makes a mapping from arguments of the wrong kind")


BUILDERS: dict[str, Callable[[tuple[object, ...]], object]] = {
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "collections.OrderedDict": empty_mapping,
    "collections.defaultdict": empty_mapping,
}
