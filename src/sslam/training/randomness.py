"""Counter-based randomness: whatever is random in a run is a function of where the run is.

A training run keeps no random state. What is drawn for group g of step s comes from a generator
seeded by a hash of (seed, s, g, purpose), so that the whole state of a run is its step, and a group
draws the same numbers on whichever process it runs.
"""

from __future__ import annotations

import hashlib

import torch


def stream_seed(seed: int, step: int, group: int, purpose: str) -> int:
    """A 63-bit seed that differs whenever one of the four differs."""
    key = f"{seed}/{step}/{group}/{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def stream(
    seed: int, step: int, group: int, purpose: str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The generator of everything random that ``purpose`` needs in group ``group`` of ``step``.

    >>> a = torch.rand(3, generator=stream(1, 7, 0, "views"))
    >>> bool((a == torch.rand(3, generator=stream(1, 7, 0, "views"))).all())
    True
    """
    generator = torch.Generator(device)
    generator.manual_seed(stream_seed(seed, step, group, purpose))
    return generator
