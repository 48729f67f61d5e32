"""Fails when a relative link in a Markdown file leads nowhere, or a file of the repository or a test that one names does
not exist."""

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
# `proxy/src/error.rs`, from the root on.
NAMED = re.compile(r"`([\w.-]+(?:/[\w.-]+)+\.(?:rs|sh|py|go|toml|yaml|json|md))`")
# A promise of docs/hardening.md and what holds it: tests, attacks of scripts/torture.py.
PROMISE = re.compile(r"^\| [^|]+ \| (`.*`[^|]*) \|$", re.M)


def unkept(files):
    """Names of tests and attacks in docs/hardening.md that are none."""
    text = Path("docs/hardening.md").read_text(encoding="utf-8")
    tests = set()
    for file in files:
        if file.endswith((".rs", ".go")) and ("tests" in file or "test" in Path(file).name or "/src/" in file):
            tests.update(re.findall(r"(?:fn|func) (\w+)\(", Path(file).read_text(encoding="utf-8")))
    attacks = set(re.findall(r'^    "([\w ,]+)": \(', Path("scripts/torture.py").read_text(encoding="utf-8"), re.M))
    names = [name for held in PROMISE.findall(text) for name in re.findall(r"`([^`]+)`", held)]
    return [name for name in names if name not in tests | attacks | {"make torture", "make e2e"}]


def main():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True)
    files = [file for file in listed.stdout.splitlines() if Path(file).exists()]
    roots = {file.split("/")[0] for file in files if "/" in file}
    dead = []
    for file in (file for file in files if file.endswith(".md")):
        text = Path(file).read_text(encoding="utf-8")
        links = [link for link in LINK.findall(text) if "://" not in link]
        dead += [f"{file}: {link}" for link in links if not (Path(file).parent / link).exists()]
        # The changelog tells of files that were.
        if file != "CHANGELOG.md":
            named = [name for name in NAMED.findall(text) if name.split("/")[0] in roots]
            dead += [f"{file}: `{name}`" for name in named if not Path(name).exists()]
    dead += [f"docs/hardening.md: no test and no attack `{name}`" for name in unkept(files)]
    sys.exit("links and names that lead nowhere:\n" + "\n".join(dead) if dead else 0)


main()
