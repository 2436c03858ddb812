"""Adds the pages that lie in the root of the repository to the site, with their links adapted."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
WIDE = "---\nhide: [toc]\n---\n\n"  # the README's table of networks needs the width


def on_files(files: Files, config: Any) -> Files:
    """Returns the files of the site with those of PAGES; called by MkDocs."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text().replace("](docs/", "](")
        text = re.sub(r"\]\(([A-Z]+\.md)", lambda match: f"]({PAGES[match[1]]}", text)
        if name == "README.md":
            text = WIDE + text
        files.append(File.generated(config, page, content=text))
    return files
