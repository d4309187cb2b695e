"""Fetches an archive of npm's registry: by npm where it is installed, since it knows its own
settings, and otherwise by a plain request, for Node is not needed for anything else.
"""

from __future__ import annotations

import configparser
import http.client
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

from .lock import Archive

PUBLIC = "https://registry.npmjs.org"
# A longer file is not one of the pinned archives.
LONGEST = 64 << 20


def download(archive: Archive, into: Path) -> bool:
    """Puts the archive into a folder; whether that went well."""
    if shutil.which("npm"):
        pack = ["npm", "pack", "--silent", f"{archive.project}@{archive.version}"]
        done = subprocess.run(pack, cwd=into, stdout=subprocess.DEVNULL, check=False)
        return done.returncode == 0
    url = f"{registry()}/{archive.project}/-/{archive.file}"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            (into / archive.file).write_bytes(answer.read(LONGEST))
    except (OSError, http.client.HTTPException) as error:
        # An answer that breaks off is the latter.
        print(f"  {url}: {error}")
        return False
    return True


def registry() -> str:
    """The registry that npm would use: the environment's, the user's, or the public one."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    # .npmrc has keys without a section.
    settings = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        text = (Path.home() / ".npmrc").read_text(encoding="utf-8")
        settings.read_string(f"[npm]\n{text}")
    except (OSError, configparser.Error):
        return PUBLIC
    return settings.get("npm", "registry", fallback=PUBLIC).strip("\"'").rstrip("/")
