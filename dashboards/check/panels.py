"""The panels' queries, as Prometheus gets them from Grafana."""

import json
import math
from pathlib import Path

# What Grafana puts in place of its variables; each query is asked for each run.
VARIABLES = {"$__rate_interval": "10s", "$client": ".*"}
# What only runs on other hosts have.
OF_HOSTS = ("regatta_broker", "regatta_host", "regatta_jobs_redone", "regatta_jobs_verified")


def queries(dashboard: Path):
    """Title and query of each target of each panel."""
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def fill_in(query: str, run: str) -> str:
    for name, value in {**VARIABLES, "$run": run}.items():
        query = query.replace(name, value)
    assert "$" not in query, f"an unknown variable in {query}"
    return query


def without_data(
    prometheus, dashboards: list[Path], runs: list[str], span: tuple[float, float], on_hosts: bool
):
    """What is wrong: queries that give no number for any run; `on_hosts`: one of them is."""
    start, end = span
    for dashboard in dashboards:
        for title, query in queries(dashboard):
            if not on_hosts and any(name in query for name in OF_HOSTS):
                continue
            asked = (fill_in(query, run) for run in runs)
            if not any(has_data(prometheus, each, start, end) for each in asked):
                yield f"{dashboard.name}, panel {title!r}: no data for {query}"


def with_data(prometheus, dashboard: Path, run: str, span: tuple[float, float], without=()) -> list:
    """Titles of the panels that have a number to show of a run; without some types of panel."""
    return [
        panel["title"]
        for panel in json.loads(dashboard.read_text())["panels"]
        if panel["type"] not in without
        and any(
            has_data(prometheus, fill_in(target["expr"], run), *span) for target in panel["targets"]
        )
    ]


def has_data(prometheus, query: str, start: float, end: float) -> bool:
    answer = prometheus.get("query_range", query=query, start=start, end=end, step=1)
    values = (value for series in answer["result"] for _, value in series["values"])
    return any(math.isfinite(float(value)) for value in values)
