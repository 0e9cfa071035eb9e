"""Who made the recordings that a shipped model learned from: one line a credit, by source.

The credits are read as for the demo's audio (`demo/attribution.py`); what that file refuses is
listed apart, with the reason, so that nothing is hidden.
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

Row = dict[str, str]

DEMO = Path(__file__).parents[1] / "demo" / "attribution.py"

FSDKAGGLE = (
    "FSDKaggle2018 by E. Fonseca, M. Plakal, F. Font, D. P. W. Ellis, X. Favory, J. Pons and "
    "X. Serra, https://doi.org/10.5281/zenodo.2552860, clips of Freesound"
)
GCIN = "gcin-voice, spoken syllables of Mandarin, http://hyperrate.com"

HEADER = """# What sslam-tiny learned from

Every recording that the weights were trained on, by source: number of clips, licence, and the
credit that its authors ask for. None of the audio is in this folder. Clips are 16 kHz mono copies,
trimmed or cut to at most 10 s.

CC0 1.0: https://creativecommons.org/publicdomain/zero/1.0/
CC BY 3.0: https://creativecommons.org/licenses/by/3.0/
CC BY 4.0: https://creativecommons.org/licenses/by/4.0/
"""


def attribution(rows: Sequence[Row], texts: Path) -> str:
    """The credits of ``rows`` as Markdown.

    Args:
        rows: of the metadata.
        texts: the folder of the sources' own licence texts.
    """
    demo = _demo()
    credits: Any = demo._Credits(texts)
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    doubtful: Counter[str] = Counter()
    for row in rows:
        problem = doubt(row)
        if problem:
            doubtful[problem] += 1
        by_source[row["source"]][credit(row, credits)] += 1
    titles = {**demo.SOURCES, "fsdkaggle2018_subset": FSDKAGGLE, "gcin_voice": GCIN}
    parts = [HEADER]
    for source, lines in sorted(by_source.items()):
        parts.append(f"\n## {titles[source]}\n\n{lines.total()} clips.\n")
        parts += [f"- {count} × {line}" for line, count in sorted(lines.items())]
    if doubtful:
        parts.append("\n## Licences that need a word\n")
        parts += [f"- {count} clips: {problem}" for problem, count in sorted(doubtful.items())]
    return "\n".join(parts) + "\n"


def credit(row: Row, credits: Any) -> str:
    """One line for a recording."""
    if row["source"] == "fsdkaggle2018_subset":
        return "CC0 or CC BY, as the data set lists for each of its clips"
    if row["source"] == "gcin_voice":
        return "CC BY 3.0: ChionMeilin, with the vocal source from Chu Lo"
    try:
        return _without_web(str(credits.line(row)))
    except KeyError:
        return f"{row['licence']}: {Path(row['orig_path']).stem} (see the end)"


def doubt(row: Row) -> str:
    """What is doubtful about the licence of a recording; empty for most."""
    if row["source"] == "fsdkaggle2018_subset":
        return "FSDKaggle2018: CC0 or CC BY; the author of each clip is named in the data set only"
    return ""


def _without_web(line: str) -> str:
    """Shorter addresses of Freesound."""
    return re.sub(r"https?://(?:www\.)?freesound\.org/people/[^/ ]+/sounds/(\d+)/?",
                  r"https://freesound.org/s/\1/", line)  # fmt: skip


def _demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_attribution", DEMO)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
