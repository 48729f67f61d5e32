"""Writes the map of the code to the file given: the workspace's crates, what each uses, and each module's first sentence."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

PREFACE = """\
# The code, file by file

<!-- Generated from the manifests and the modules' headers. Do not edit: `make generate`. -->

The gateway's crate comes first, then what it uses, then the rest. [The path of a request](request-path.md) is the order in
which to read the gateway.
"""
FIRST = "penstock-proxy"


def main():
    target = Path(sys.argv[1])
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"]
    metadata = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    crates = {package["name"]: package for package in metadata["packages"]}
    sections = [describe(crates[name], crates) for name in in_order(crates)]
    target.write_text("\n".join([PREFACE, *sections]), encoding="utf-8")


def in_order(crates):
    """The gateway's crate, those that it uses, those that these use, and at last those that it does not use."""
    order = [FIRST]
    for name in order:
        order += [used for used in uses(crates[name], crates) if used not in order]
    return order + sorted(set(crates) - set(order))


def uses(crate, crates):
    """The workspace's crates that one is built with; those that only its tests use do not count."""
    return sorted({other["name"] for other in crate["dependencies"] if other["kind"] != "dev" and other["name"] in crates})


def describe(crate, crates):
    """A crate's description and what it uses, and a table with a line for each of its top-level modules."""
    folder = folder_of(crate)
    used = ", ".join(f"`{folder_of(crates[name])}`" for name in uses(crate, crates))
    lines = [f"## `{folder}/`", "", f"{crate['description']}. Uses {used or 'no other crate of these'}.", ""]
    lines += ["| file | what it is |", "|---|---|"]
    for file in sorted(Path(folder, "src").glob("*.rs")):
        parts = sorted(part.stem for part in file.with_suffix("").glob("*.rs") if part.stem != "tests")
        inside = f" ({', '.join(parts)})" if parts and file.name not in ("lib.rs", "main.rs") else ""
        lines.append(f"| [`{file.name}`](../{file}) | {first_sentence(file)}{inside} |")
    return "\n".join(lines) + "\n"


def folder_of(crate):
    return os.path.relpath(Path(crate["manifest_path"]).parent)


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
