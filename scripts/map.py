"""Rewrites the map of the house in the README given: each crate and module, with the first sentence of its header."""

import re
import sys
from pathlib import Path

# The crates in the order in which a request meets them, and where their top-level modules are.
CRATES = {"proxy": ["src"], "sources": ["src"], "peek": ["src"], "config": ["src"], "picker": ["src"], "apiserver": ["src"], "operator": ["src"], "perf": ["src", "src/sim"], "perf/gates": ["src"]}
BEGIN = "<!-- The map: `make generate` writes it from the modules' headers. -->"
END = "<!-- End of the map. -->"


def main():
    readme = Path(sys.argv[1])
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    crates = "\n".join(map(describe, CRATES))
    readme.write_text(f"{before}{BEGIN}\n\n{crates}\n{END}{after}", encoding="utf-8")


def describe(crate):
    """A table with a line for each module."""
    manifest = Path(crate, "Cargo.toml").read_text(encoding="utf-8")
    description = re.search(r'^description = "(.*)"$', manifest, re.MULTILINE)[1]
    lines = [f"| **`{crate}/`** | **{description}** |", "|---|---|"]
    for file in (file for folder in CRATES[crate] for file in sorted(Path(crate, folder).glob("*.rs"))):
        folder = file.with_suffix("")
        parts = sorted(part.stem for part in folder.glob("*.rs") if part.stem != "tests") if folder.is_dir() else []
        inside = f" ({', '.join(parts)})" if parts and file.name != "lib.rs" else ""
        lines.append(f"| [`{file.name}`]({file}) | {first_sentence(file)}{inside} |")
    return "\n".join(lines) + "\n"


def first_sentence(file):
    """The first sentence of a module's header, its links to code as plain code."""
    header = []
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("//!").strip()
        if not line.startswith("//!") or not text:
            break
        header.append(text)
    sentence = re.split(r"(?<=\.)\s", " ".join(header))[0]
    if not sentence:
        sys.exit(f"{file}: has no header to take into the map")
    return re.sub(r"\[(`[^`]+`)\](\([^)]*\))?", r"\1", sentence).replace("|", "\\|")


main()
