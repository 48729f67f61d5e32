"""Fails when a relative link in a Markdown file leads nowhere."""

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")

files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], capture_output=True, text=True, check=True)
dead = [
    f"{file}: {target}"
    for file in files.stdout.splitlines()
    for target in LINK.findall(Path(file).read_text(encoding="utf-8"))
    if "://" not in target and not (Path(file).parent / target).exists()
]
sys.exit("links that lead nowhere:\n" + "\n".join(dead) if dead else 0)
