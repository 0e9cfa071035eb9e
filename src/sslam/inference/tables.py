"""Rows as a table that other programs read: Parquet, CSV or NPZ, written in constant memory."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sslam.errors import InputError, require_extra
from sslam.files import whole, write_bytes
from sslam.inference.journal import Done, RowFile, Settings


def vector_row(width: int) -> np.dtype[np.void]:
    """A row that holds a vector."""
    return np.dtype(
        [("file", "<i8"), ("start_s", "<f8"), ("end_s", "<f8"), ("vector", "<f4", (width,))]
    )


def tag_row() -> np.dtype[np.void]:
    """A row that holds a label and its score."""
    return np.dtype(
        [("file", "<i8"), ("start_s", "<f8"), ("end_s", "<f8"), ("label", "<i4"), ("score", "<f4")]
    )


def check_writable(out: Path) -> None:
    """Find out before hours of work that a table cannot be written.

    Raises:
        InputError: a suffix that is no format, or a folder in the way.
        MissingExtraError: Parquet without pyarrow.
    """
    if out.suffix.lower() not in WRITERS:
        raise InputError(f"--out {out}: its name must end in {', '.join(WRITERS)}")
    if out.is_dir():
        raise InputError(f"--out {out} is a folder; give the name of a file")
    if out.suffix.lower() == ".parquet":
        require_extra("pyarrow.parquet", "data")


def write_table(
    out: Path, rows: RowFile, paths: Sequence[str], labels: Sequence[str], settings: Settings
) -> None:
    """Write ``rows`` as ``out``, whole or not at all.

    Args:
        paths: of the files that the rows count.
        labels: that the rows count, or that the numbers of a score vector belong to.
        settings: what made them; kept in the table's metadata.
    """
    with whole(out, alone=True, durable=True) as partial:
        WRITERS[out.suffix.lower()](partial, rows, paths, labels, settings)


def write_errors(path: Path, done: Sequence[Done]) -> int:
    """Write a row for each clip that was skipped, if any was; how many."""
    skipped = [each for each in done if each.reason is not None]
    if not skipped:
        path.unlink(missing_ok=True)
        return 0
    lines = _Lines()
    writer = csv.writer(lines)
    writer.writerow(["path", "reason"])
    writer.writerows([each.path, " ".join(str(each.reason).split())] for each in skipped)
    write_bytes(path, "".join(lines.text).encode("utf-8", "surrogateescape"), durable=True)
    return len(skipped)


class _Lines:
    """Collects what a CSV writer writes."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def write(self, line: str) -> None:
        self.text.append(line)


def _write_parquet(
    path: Path, rows: RowFile, paths: Sequence[str], labels: Sequence[str], settings: Settings
) -> None:
    pa: Any = require_extra("pyarrow", "data")
    parquet: Any = require_extra("pyarrow.parquet", "data")
    names = rows.dtype.names or ()
    texts = pa.dictionary(pa.int32(), pa.string())
    columns = [("path", texts), ("start_s", pa.float64()), ("end_s", pa.float64())]
    if "vector" in names:
        width = rows.dtype["vector"].shape[0]
        columns.append(("vector", pa.list_(pa.float32(), width)))
    else:
        columns += [("label", texts), ("score", pa.float32())]
    metadata = {"sslam": json.dumps({**settings, "labels": list(labels)})}
    schema = pa.schema(columns, metadata=metadata)
    shown = pa.array([_text(each) for each in paths], pa.string())
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in rows.blocks():
            files = block["file"].astype(np.int32)
            arrays = [
                pa.DictionaryArray.from_arrays(files, shown),
                pa.array(block["start_s"]),
                pa.array(block["end_s"]),
            ]
            if "vector" in names:
                flat = pa.array(np.ascontiguousarray(block["vector"]).ravel())
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, width))
            else:
                known = pa.array(list(labels), pa.string())
                arrays.append(pa.DictionaryArray.from_arrays(block["label"], known))
                arrays.append(pa.array(block["score"]))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _write_csv(
    path: Path, rows: RowFile, paths: Sequence[str], labels: Sequence[str], settings: Settings
) -> None:
    del settings  # they lie beside it, in X.csv.job.json
    is_vector = "vector" in (rows.dtype.names or ())
    width = rows.dtype["vector"].shape[0] if is_vector else 0
    columns = list(labels) if len(labels) == width else [f"v{number}" for number in range(width)]
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["path", "start_s", "end_s", *(columns if is_vector else ("label", "score"))]
        )
        for block in rows.blocks():
            for row in block:
                values = (
                    [_digits(value) for value in row["vector"]]
                    if is_vector
                    else [labels[row["label"]], _digits(row["score"])]
                )
                start_s, end_s = (round(float(row[key]), 6) for key in ("start_s", "end_s"))
                writer.writerow([paths[row["file"]], start_s, end_s, *values])


def _write_npz(
    path: Path, rows: RowFile, paths: Sequence[str], labels: Sequence[str], settings: Settings
) -> None:
    facts: dict[str, NDArray[Any]] = {
        "paths": np.array([_text(each) for each in paths], dtype=np.str_),
        "labels": np.array(list(labels), dtype=np.str_),
        "settings": np.array(json.dumps(settings)),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in facts.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        for name in rows.dtype.names or ():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                _write_column(file, rows, name)


def _write_column(file: IO[bytes], rows: RowFile, name: str) -> None:
    """One field of the rows as an array in NumPy's own format, a block at a time."""
    kind = rows.dtype[name]
    header = {
        "descr": np.lib.format.dtype_to_descr(kind.base),
        "fortran_order": False,
        "shape": (rows.count, *kind.shape),
    }
    np.lib.format.write_array_header_2_0(file, header)
    for block in rows.blocks():
        file.write(np.ascontiguousarray(block[name]).tobytes())


def _text(path: str) -> str:
    """A path in UTF-8; bytes of a name that are none are shown as such."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _digits(value: np.float32) -> str:
    """The fewest digits that read back as the same float32."""
    return str(np.format_float_positional(value, unique=True, trim="-"))


_Write = Callable[[Path, RowFile, Sequence[str], Sequence[str], Settings], None]
WRITERS: dict[str, _Write] = {".parquet": _write_parquet, ".csv": _write_csv, ".npz": _write_npz}
