"""What has to hold of a page, and a record of what did not."""

from pathlib import Path

SIZES = {"wide": (1400, 900), "narrow": (390, 844)}
# What the page knows, as text. The status changes, so only what is finished is compared.
KNOWN = """JSON.stringify([regatta.model.rounds.slice(0, LAST), regatta.model.clients.map((c) =>
  c.points.filter(([x]) => x <= regatta.model.rounds[LAST - 1].round))])"""


class Findings:
    """What was looked at, and what is wrong."""

    def __init__(self):
        self.wrong: list[str] = []

    def check(self, holds, what: str, found="") -> None:
        if holds:
            print(f"ok: {what}")
        else:
            self.wrong.append(f"not so: {what} {found}".rstrip())
            print(self.wrong[-1])

    def clean(self, page, url: str, allow: str = "") -> None:
        """Nothing was complained of, and nothing asked for elsewhere."""
        complaints = [text for text in page.complaints if not allow or allow not in text]
        self.check(not complaints, f"the console is empty at {url}", complaints)
        outside = [asked for asked in page.requests if not asked.startswith(url)]
        self.check(not outside, "nothing is asked for elsewhere", outside)


def known(page, rounds: int) -> str:
    """What a page knows of the first N rounds."""
    return page.ask(KNOWN.replace("LAST", str(rounds)))


def visible(page, element: str) -> bool:
    return page.ask(f"document.getElementById('{element}').checkVisibility()")


def pictures(browser, url: str, name: str, folder: Path, ready: str) -> None:
    """The page light and dark, wide and narrow."""
    for dark in (False, True):
        for size, (width, height) in SIZES.items():
            page = browser.open(url, width, height, dark)
            page.wait_for(ready)
            page.ask("new Promise((done) => setTimeout(done, 800))")
            shade = "dark" if dark else "light"
            page.picture(folder / f"{name}-{size}-{shade}.png")
            too_wide = page.ask("document.documentElement.scrollWidth - innerWidth")
            if too_wide > 0:
                raise AssertionError(f"{name} is {too_wide} pixels too wide when {size}")
            page.close()
