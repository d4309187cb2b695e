"""Checks the monitoring with the real things: `python -m dashboards.check PROGRAM`.

What is unavailable here (Prometheus, Grafana's SDK, a Grafana of terminals) is reported as skipped;
all else that fails is an error.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from . import panels, runs, server, terminal, tools
from .tools import command

DASHBOARDS = sorted(server.DASHBOARDS.glob("*.json"))
# Most queries look back 10 seconds.
WATCH_SECONDS = 14


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="the built regatta")
    parser.add_argument("--no-terminal", action="store_true", help="leave the terminal client out")
    arguments = parser.parse_args()
    program = arguments.program.resolve()
    wrong = check_with_sdk(program.parent)
    if tools.prometheus():
        wrong += check_rules()
        client = None if arguments.no_terminal else terminal.client(program.parent / "grafatui")
        if not client:
            print("skipped: no dashboard was looked at in a terminal")
        with tempfile.TemporaryDirectory() as place:
            wrong += check_runs(program, Path(place), client)
    else:
        print("skipped: no prometheus and promtool here, so no run was watched")
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return min(len(wrong), 1)


def check_with_sdk(folder: Path) -> list[str]:
    python = tools.sdk_python(folder / "grafana-sdk")
    if not python:
        print("skipped: Grafana's SDK is unavailable, so dashboards were not parsed with it")
        return []
    script = server.DASHBOARDS / "check" / "sdk.py"
    return command([python, script, *DASHBOARDS], "Grafana's SDK reads the dashboards")


def check_rules() -> list[str]:
    config, tests = server.DASHBOARDS / "prometheus.yml", server.DASHBOARDS / "rules" / "tests.yml"
    return [
        *command(["promtool", "check", "config", config], "configuration and rules are sound"),
        *command(["promtool", "test", "rules", tests], "the rules do what their tests say"),
    ]


def check_runs(program: Path, place: Path, client: terminal.Client | None) -> list[str]:
    """Runs, scraped by Prometheus: metrics are sound and quick, and every panel has data."""
    with contextlib.ExitStack() as ending:
        started = runs.start(program, place)
        for run in started.values():
            ending.callback(run.end)
        prometheus = server.Prometheus(place, [run.address for run in started.values()])
        ending.callback(prometheus.end)
        wrong = watch(started, prometheus, client)
    if not wrong:
        count = sum(1 for dashboard in DASHBOARDS for _ in panels.queries(dashboard))
        print(f"ok: each of {count} queries of {len(DASHBOARDS)} dashboards has data")
    wrong += [
        line
        for name in started
        for line in lint((place / name / "metrics.prom").read_bytes(), f"metrics.prom of {name}")
    ]
    return wrong


def watch(
    started: dict[str, runs.Run], prometheus: server.Prometheus, client: terminal.Client | None
) -> list[str]:
    """Checks running runs."""
    prometheus.wait_for(f"count(regatta_rounds_total > 0) == {len(started)}", seconds=60)
    begin = time.time()
    wrong = [line for name, run in started.items() for line in check_exposition(name, run)]
    time.sleep(max(0.0, begin + WATCH_SECONDS - time.time()))
    span = (begin, time.time())
    on_hosts = runs.ON_HOSTS in started
    wrong += panels.without_data(prometheus, DASHBOARDS, list(started), span, on_hosts)
    if client:
        wrong += [line for name in started for line in client.look(prometheus, name, span)]
    return wrong + unhealthy(prometheus)


def check_exposition(name: str, run: runs.Run) -> list[str]:
    """A scrape while every lane is busy."""
    begin = time.monotonic()
    with urllib.request.urlopen(f"http://{run.address}/metrics", timeout=30) as answer:
        text = answer.read()
    seconds = time.monotonic() - begin
    print(f"a scrape of {name} took {1000 * seconds:.1f} ms for {len(text)} bytes")
    return lint(text, f"metrics of {name}")


def lint(exposition: bytes, what: str) -> list[str]:
    return command(["promtool", "check", "metrics"], f"{what} are sound", exposition)


def unhealthy(prometheus: server.Prometheus) -> list[str]:
    """Rules that Prometheus cannot evaluate, and alerts that healthy runs give."""
    rules = [r for group in prometheus.get("rules")["groups"] for r in group["rules"]]
    alerts = prometheus.get("alerts")["alerts"]
    return [f"rule {r['name']}: {r.get('lastError')}" for r in rules if r["health"] != "ok"] + [
        f"alert {a['labels']} on a healthy run" for a in alerts
    ]


if __name__ == "__main__":
    sys.exit(main())
