"""What a page goes through with a run: the quickstart to its end, a thousand clients, a kill, and
texts that a model writes."""

import json
from pathlib import Path

from . import checks, runs
from .browser import Browser
from .checks import Findings, visible


def quickstart(program: Path, place: Path, browser: Browser, pictures: Path, it: Findings) -> None:
    """A run that nobody steers, from its first loss to after its end."""
    run = runs.quickstart(program, place)
    try:
        page = browser.open(run.url)
        page.wait_for("regatta.model.clients.length === 4", 120)
        page.wait_for("regatta.model.clients.every((c) => c.points.length)", 120)
        early = page.ask("regatta.model.clients.map((c) => c.points.length)")
        it.check(not visible(page, "run-controls"), "without control there are no buttons")
        page.wait_for("regatta.model.rounds.length >= 1", 120)
        page.wait_for(f"regatta.model.clients.every((c, i) => c.points.length > {early}[i])", 120)
        it.check(True, "losses grow longer")
        page.wait_for("document.querySelectorAll('#loss-chart .u-series').length >= 6")
        it.check(True, "each client has a line")
        before = checks.known(page, 1)
        page.send("Page.reload")
        page.wait_for("regatta.line() === 'live' && regatta.model.rounds.length >= 1")
        it.check(checks.known(page, 1) == before, "a reload keeps the history")
        checks.pictures(browser, run.url, "training", pictures, "regatta.model.rounds.length")
        page.wait_for("regatta.model.isOver", 240)
        run.end()
        page.wait_for("regatta.line() === 'gone'")
        text = page.ask("document.getElementById('banner').textContent")
        it.check("complete" in text, "the end of the run is said", text)
        recorded = [json.loads(line) for line in (place / "quickstart/rounds.jsonl").open()]
        told = page.ask("regatta.model.rounds.map((row) => row.train_loss)")
        it.check(told == [row["train_loss"] for row in recorded], "it tells what was recorded")
        client(page, it, pictures)
        page.picture(pictures / "over-wide-light.png")
        it.clean(page, run.url)
        page.close()
    finally:
        run.end()


def client(page, it: Findings, pictures: Path) -> None:
    """One client's own view, reached by keyboard."""
    page.ask("document.getElementById('fleet-body').focus()")
    page.key("ArrowDown")
    page.key("ArrowDown")
    link = page.ask("document.activeElement.hash")
    it.check(link == "#/client/1", "arrows move through the fleet", link)
    page.ask("document.activeElement.click()")
    page.wait_for("document.querySelectorAll('#client .work tbody tr').length >= 3")
    name = page.ask("document.querySelector('#client h1').textContent")
    it.check(name == page.ask("regatta.model.clients[1].name"), "a client has its own view")
    page.ask("new Promise((done) => setTimeout(done, 500))")
    page.picture(pictures / "client-wide-light.png")
    page.ask("location.hash = '#/'")


def thousand(program: Path, place: Path, browser: Browser, pictures: Path, it: Findings) -> None:
    """A thousand clients: quick, steered, killed and resumed."""
    run = runs.thousand(program, place)
    try:
        page = browser.open(run.url)
        page.wait_for("regatta.model.clients.length === 1000 && regatta.model.rounds.length >= 5")
        page.ask("document.getElementById('fleet-body').scrollTop = 14000")
        page.ask("document.getElementById('sort').value = 'loss'")
        page.ask("document.getElementById('sort').dispatchEvent(new Event('change'))")
        page.ask("for (let i = 0; i < 3; i += 1) regatta.fleet.pin(100 * i, true)")
        page.wait_for("regatta.model.rounds.length >= 15")
        rows = page.ask("document.querySelectorAll('.fleet-row').length")
        it.check(rows < 60, "only the clients in sight are in the document", rows)
        steer(page, it)
        it.check(quick(browser, run.url), "no task is longer than 200 ms")
        checks.pictures(browser, run.url, "thousand", pictures, "regatta.model.rounds.length > 5")
        lose(page, run, it)
        it.clean(page, run.url, allow="net::ERR_")
        page.close()
    finally:
        run.end()


def quick(browser: Browser, url: str, tries: int = 3) -> bool:
    """Whether a page loads and follows without a long task. A busy machine lengthens every task by
    what else it does, so a page may be looked at again."""
    for _ in range(tries):
        page = browser.open(url)
        page.wait_for("regatta.model.rounds.length")
        rounds = page.ask("regatta.model.status.round")
        page.wait_for(f"regatta.model.status.round >= {rounds + 8}")
        longest = page.longest_task()
        print(f"the longest task took {longest:.0f} ms")
        page.close()
        if longest <= 200:
            return True
    return False


def steer(page, it: Findings) -> None:
    """The buttons do what they say."""
    page.ask("document.getElementById('pause').click()")
    page.wait_for("document.getElementById('token-dialog').open")
    page.ask(f"document.getElementById('token').value = '{runs.TOKEN}'")
    page.ask("document.querySelector('#token-dialog [value=ok]').click()")
    page.wait_for("regatta.model.status.phase === 'paused'")
    # The page draws what it knows with the next frame.
    page.wait_for("document.getElementById('resume').checkVisibility()")
    it.check(not visible(page, "pause"), "a run can be paused")
    page.ask("location.hash = '#/client/7'")
    button = "[...document.querySelectorAll('#client button')].find((b) => b.textContent === '{}')"
    page.wait_for(button.format("Drop") + ".checkVisibility()")
    page.ask(button.format("Drop") + ".click()")
    page.ask(button.format("Slow down") + ".click()")
    page.ask("document.getElementById('resume').click()")
    page.wait_for("regatta.model.clients[7].status.excluded")
    page.wait_for("regatta.model.clients[7].status.slowdown === 3")
    page.wait_for("regatta.model.status.phase !== 'paused'")
    page.ask(button.format("Restore") + ".click()")
    page.wait_for("!regatta.model.clients[7].status.excluded")
    it.check(True, "and resumed, and a client dropped, slowed and restored")
    page.ask("location.hash = '#/'")


def lose(page, run: runs.PageRun, it: Findings) -> None:
    """The run is killed, and resumes at the same address."""
    run.kill()
    page.wait_for("regatta.line() === 'lost'")
    text = page.ask("document.getElementById('banner').textContent")
    it.check("does not respond" in text, "a run that is lost is said to be", text)
    rounds = page.ask("regatta.model.rounds.length")
    before = checks.known(page, 5)
    run.resume("thousand")
    page.wait_for("regatta.line() === 'live' && regatta.model.status.phase !== 'starting'", 90)
    page.wait_for(f"regatta.model.rounds.length >= {rounds - 5}", 90)
    same = checks.known(page, 5) == before
    it.check(same, "the page reconnects, and the run's history is there again")


CARD = "document.querySelector('#texts-cards article')"
# The label and the text of a card, and the text before training.
CARD_TEXTS = f"[...{CARD}.querySelectorAll('.written > div:not([hidden])')].map((d) => d.textContent)"


def texts(program: Path, place: Path, browser: Browser, pictures: Path, it: Findings) -> None:
    """A decoder: its scores beside those before training, and cards with its texts."""
    run = runs.texts(program, place)
    try:
        page = browser.open(run.url)
        page.wait_for(f"{CARD} && regatta.model.rounds.length >= 1", 120)
        shown = page.ask("document.querySelectorAll('#texts-cards article').length")
        it.check(shown == 6, "some cards are shown", shown)
        page.wait_for("regatta.model.texts.length >= 4", 120)
        newest = "`Round ${regatta.model.texts.at(-1)}`"
        page.wait_for(f"{CARD_TEXTS}[0].startsWith({newest})")
        it.check(True, "new texts appear as they are written")
        tile = page.ask("document.querySelector('#tiles > div').innerText")
        it.check(tile.startswith("Perplexity") and "before training" in tile, "a tile has both", tile)
        label = page.ask("document.getElementById('scores-chart').getAttribute('aria-label')")
        it.check("before training" in label, "the base is in the chart of its score", label)
        earlier(page, it)
        page.send("Page.reload")
        page.wait_for(f"regatta.line() === 'live' && {CARD_TEXTS}[0].startsWith({newest})")
        it.check(True, "a reload shows the texts again")
        page.wait_for("regatta.model.isOver", 240)
        page.ask("document.getElementById('texts-more').click()")
        page.wait_for("document.querySelectorAll('#texts-cards article').length > 6")
        checks.pictures(browser, run.url, "texts", pictures, f"regatta.model.isOver && !!{CARD}")
        again(page, run, it)
        it.clean(page, run.url, allow="net::ERR_")
        page.close()
    finally:
        run.end()


def earlier(page, it: Findings) -> None:
    """The way back through the rounds, where it stays although the run continues."""
    page.ask("document.getElementById('texts-earlier').click()")
    chosen = page.ask("document.getElementById('texts-round').value")
    page.wait_for(f"{CARD_TEXTS}[0].startsWith('Round {chosen}')")
    page.wait_for(f"regatta.model.texts.at(-1) > {chosen} + 1")
    text = page.ask(f"{CARD_TEXTS}[0]")
    it.check(text.startswith(f"Round {chosen}"), "an earlier round stays in sight", text)
    page.ask(
        "const select = document.getElementById('texts-round'); select.value = '0';"
        "select.dispatchEvent(new Event('change'))"
    )
    page.wait_for(f"{CARD_TEXTS}.length === 1 && {CARD_TEXTS}[0].startsWith('Before training')")
    it.check(True, "and the first of all is what was written before training")


def again(page, run: runs.PageRun, it: Findings) -> None:
    """The run is killed and resumed: the texts of the rounds before are there again."""
    before = page.ask(f"{CARD_TEXTS}")
    run.kill()
    run.resume("texts")
    page.ask("location.reload()")
    page.wait_for("regatta.line() === 'live' && regatta.model.isOver", 120)
    page.wait_for(f"JSON.stringify({CARD_TEXTS}) === JSON.stringify({json.dumps(before)})")
    known = page.ask("regatta.model.texts")
    it.check(known == list(range(13)), "a resumed run has the texts of all rounds", known)
