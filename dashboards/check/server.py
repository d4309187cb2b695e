"""A Prometheus with the shipped configuration, only quicker and with the runs' addresses."""

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

DASHBOARDS = Path("dashboards")
TARGET = "127.0.0.1:9464"


class Prometheus:
    def __init__(self, place: Path, addresses: list[str]):
        config = place / "prometheus.yml"
        config.write_text(quick_config(addresses))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % free.getsockname()[1]
        self.log = (place / "prometheus.log").open("w")
        command = [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={place / 'tsdb'}",
            f"--web.listen-address={self.address}",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def get(self, path: str, **parameters):
        """The data of an answer of the API."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        url = f"http://{self.address}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def wait_for(self, query: str, seconds: int) -> None:
        """Waits until a query is true."""
        for _ in range(seconds):
            try:
                if self.get("query", query=query)["result"]:
                    return
            except OSError:
                pass  # It is still starting.
            time.sleep(1)
        raise SystemExit(f"error: after {seconds} s, Prometheus does not see that {query}")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        self.log.close()


def quick_config(addresses: list[str]) -> str:
    """The shipped configuration with other addresses, and every second instead of each 15."""
    text = (DASHBOARDS / "prometheus.yml").read_text()
    assert TARGET in text and "15s" in text
    targets = "\n          - ".join(addresses)
    rules = f"  - {(DASHBOARDS / 'rules').resolve()}/"
    return text.replace(TARGET, targets).replace("15s", "1s").replace("  - rules/", rules)
