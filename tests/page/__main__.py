"""Checks the live page with a real browser: `python -m tests.page PROGRAM [PICTURES]`.

PROGRAM is the built `regatta`; pictures of the page go to PICTURES, otherwise beside it. Where
Chromium is unavailable, that is said, and nothing is checked.
"""

import os
import sys
import tempfile
from pathlib import Path

from dashboards.check import tools

CLIENT = "websocket-client==1.9.2"


def main() -> int:
    program = Path(sys.argv[1]).resolve()
    pictures = Path(sys.argv[2] if len(sys.argv) > 2 else program.parent / "page-pictures")
    if not has_client():
        python = tools.python_with(CLIENT, "websocket", program.parent / "page-check")
        if not python:
            print("skipped: websocket-client is unavailable, so no page was checked")
            return 0
        os.execv(python, [python, "-m", __spec__.name.removesuffix(".__main__"), *sys.argv[1:]])
    if not tools.program("chromium", "chromium"):
        print("skipped: no Chromium here, so no page was looked at")
        return 0
    return look(program, pictures)


def has_client() -> bool:
    try:
        import websocket  # noqa: F401
    except ImportError:
        return False
    return True


def look(program: Path, pictures: Path) -> int:
    from . import story
    from .browser import Browser
    from .checks import Findings

    pictures.mkdir(parents=True, exist_ok=True)
    findings = Findings()
    browser = Browser()
    try:
        for part in (story.quickstart, story.thousand, story.texts):
            with tempfile.TemporaryDirectory() as place:
                try:
                    part(program, Path(place), browser, pictures, findings)
                except AssertionError as wrong:
                    findings.check(False, str(wrong))
    finally:
        browser.end()
    print(f"pictures are in {pictures}")
    for line in findings.wrong:
        print(f"error: {line}", file=sys.stderr)
    return min(len(findings.wrong), 1)


if __name__ == "__main__":
    sys.exit(main())
