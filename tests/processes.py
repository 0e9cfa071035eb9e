"""Looking at processes that a test has started."""

from __future__ import annotations

from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process is there and does not merely wait to be buried."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
