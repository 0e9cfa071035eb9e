"""Write demo/ATTRIBUTION.md and demo/licences/ from the metadata of the chosen recordings."""

from __future__ import annotations

import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str]

SOURCES = {
    "arabic_speech_commands": "Arabic Speech Commands dataset by Abdulkader Ghandoura, "
    "https://github.com/abdulkaderghandoura/arabic-speech-commands-dataset",
    "asterisk_sounds_ru": "Asterisk core sounds, Russian: 2010 Maxim Topal, http://www.ivrvoice.ru",
    "blanket": "Sounds of Blanket, https://github.com/rafaelmardojai/blanket "
    "(cut to pieces and resampled)",
    "cc0_public_domain_sounds": "CC0 Public Domain Sounds, sound packs by their authors",
    "cdda_cc_sounds": "CDDA Creative Commons sound pack, clips of Freesound (cut and resampled)",
    "esc50": "ESC-10, part of ESC-50 by Karol J. Piczak, https://github.com/karolpiczak/ESC-50, "
    "clips of Freesound (trimmed and resampled)",
    "hydrogen_drumkits": "Drum kits of Hydrogen, http://hydrogen-music.org",
    "librosa_data": "Example recordings of librosa, https://github.com/librosa/data "
    "(cut to pieces and resampled)",
    "noixer": "Noixer, https://github.com/abetusk/noixer, clips of Freesound",
    "picovoice_s2i": "Picovoice speech-to-intent benchmark, "
    "https://github.com/Picovoice/speech-to-intent-benchmark (resampled)",
    "scikit_maad": "Example recordings of scikit-maad, https://github.com/scikit-maad/scikit-maad: "
    "2018-2024 scikit-maad Developers",
    "sonic_pi_samples": "Samples of Sonic Pi, https://github.com/sonic-pi-net/sonic-pi",
    "spectmorph_instruments": "University of Iowa Musical Instrument Samples, "
    "through the instruments of SpectMorph",
}

LICENCE_FILES = {
    "CC0-1.0.txt": "corpusc_CC0-Public-Domain-Sounds_LICENSE",
    "CC-BY-4.0.txt": "arabic_speech_commands_LICENSE",
    "Apache-2.0.txt": "Picovoice_speech-to-intent-benchmark_LICENSE",
    "BSD-3-Clause-scikit-maad.txt": "scikit-maad_scikit-maad_LICENSE",
}

HEADER = """# Where the demo's audio comes from

Every recording under demo/audio/, by source: the number of files, the licence, and the credit that
its authors ask for. All are 16 kHz mono copies, trimmed or cut to at most 10 s. Nothing here is
under a non-commercial, share-alike or copyleft licence.

Texts: [CC0 1.0](licences/CC0-1.0.txt), [CC BY 4.0](licences/CC-BY-4.0.txt),
[Apache 2.0](licences/Apache-2.0.txt), [BSD 3-Clause](licences/BSD-3-Clause-scikit-maad.txt),
CC BY 3.0: https://creativecommons.org/licenses/by/3.0/legalcode
"""


def write_attribution(rows: Sequence[Row], texts: Path, demo: Path) -> None:
    """One section a source, one line a credit, and the texts of the licences.

    Raises:
        KeyError: a recording of a kind that nobody has written a credit for.
    """
    credits = _Credits(texts)
    by_source: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_source[row["source"]].append(row)
    sections = [HEADER]
    for source, chosen in sorted(by_source.items()):
        lines = Counter(credits.line(row) for row in chosen)
        sections.append(f"\n## {SOURCES[source]}\n\n{len(chosen)} files.\n")
        sections += [f"- {count} × {line}" for line, count in sorted(lines.items())]
    (demo / "ATTRIBUTION.md").write_text("\n".join(sections) + "\n", encoding="utf-8")
    shutil.rmtree(demo / "licences", ignore_errors=True)
    (demo / "licences").mkdir()
    for name, text in LICENCE_FILES.items():
        shutil.copyfile(texts / text, demo / "licences" / name)


class _Credits:
    """The credit of a recording: from its metadata, or from the text its source came with."""

    def __init__(self, texts: Path) -> None:
        self.blanket = _read_table((texts / "blanket_SOUNDS_LICENSING.md").read_text())
        self.librosa = _read_blocks((texts / "librosa_data_licences.txt").read_text())

    def line(self, row: Row) -> str:
        """One line of Markdown."""
        original = Path(row["orig_path"])
        if row["source"] == "blanket":
            return self.blanket[original.stem]
        if row["source"] == "librosa_data":
            return self.librosa[original.stem]
        if row["source"] == "noixer":
            number, author, title = original.stem.split("__")
            return f"CC0 1.0: “{title}” by {author}, https://freesound.org/s/{number}/"
        licence = _licence(row["licence"])
        if row["attribution"]:
            return f"{licence}: {row['attribution']}"
        if row["source"] == "cc0_public_domain_sounds":
            return f"{licence}: pack “{row['split_group'].removeprefix('cc0:').split('/')[0]}”"
        if row["source"] == "hydrogen_drumkits":
            return f"{licence}: kit “{original.parent.name}”"
        if row["source"] == "sonic_pi_samples":
            return f"{licence}: {original.stem}"
        return licence


def _licence(text: str) -> str:
    """One spelling for each licence."""
    plain = text.split(" (")[0].replace("-", " ").strip()
    if plain.startswith(("CC0", "CC 0")):
        return "CC0 1.0"
    # Freesound's attribution licence was version 3.0 when a clip names no version.
    return "CC BY 3.0" if plain == "CC BY" else plain


def _read_table(text: str) -> dict[str, str]:
    """Rows ``| [Name](address) | author | editor | licence``, by the name of the file."""
    lines: dict[str, str] = {}
    for name, address, author, _, licence in re.findall(
        r"^\| \[(.+?)\]\((.+?)\) \| (.+?) \| (.+?) \| (.+?) *\|? *$", text, re.MULTILINE
    ):
        if "SA" not in licence:
            spelt = _licence(licence) if "CC" in licence else licence.lower()
            lines[name.lower().replace(" ", "-")] = f"{spelt}: “{name}” by {author}, {address}"
    return lines


def _read_blocks(text: str) -> dict[str, str]:
    """Blocks that start with ``== audio/NAME.txt``, by the name of the file."""
    lines: dict[str, str] = {}
    for block in re.split(r"^== audio/", text, flags=re.MULTILINE)[1:]:
        name, _, credit = block.partition(".txt\n")
        if "NC" not in credit and "noncommercial" not in credit.lower():
            lines[name] = "; ".join(line.strip() for line in credit.splitlines() if line.strip())
    return lines
