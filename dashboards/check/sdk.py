"""Reads dashboards with Grafana's own SDK; run with the Python that has it.

    python sdk.py fleet.json ...

The SDK knows each panel type's fields. It drops what it does not know, so a dashboard that comes
out as it went in has no misspelt field in it.
"""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(given, kept, place: str):
    """Places of what is in `given` and not in `kept`, which has defaults filled in."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                if value is not None:
                    yield f"{place}.{key}"
            else:
                yield from lost(value, kept[key], f"{place}.{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (a, b) in enumerate(zip(given, kept)):
            yield from lost(a, b, f"{place}[{number}]")
    elif given != kept:
        yield place


def main() -> int:
    plugins.register_default_plugins()
    wrong = 0
    for path in map(Path, sys.argv[1:]):
        given = json.loads(path.read_text())
        dashboard = Dashboard.from_json(given)
        kept = json.loads(JSONEncoder(sort_keys=True).encode(dashboard))
        for place in lost(given, kept, path.name):
            print(f"error: Grafana's SDK does not know {place}", file=sys.stderr)
            wrong += 1
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
