"""A headless Chromium, driven by its DevTools protocol."""

import base64
import json
import queue
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """The program; each page is a tab of it."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="regatta-browser-")
        command = [
            next(filter(None, map(shutil.which, NAMES))), "--headless=new", "--no-sandbox",
            "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
            "--remote-debugging-port=0", "--remote-allow-origins=*",
            f"--user-data-dir={self.profile}", "about:blank",
        ]  # fmt: skip
        with open(Path(self.profile) / "log", "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.port = self._port()

    def _port(self) -> int:
        file = Path(self.profile) / "DevToolsActivePort"
        for _ in range(600):
            if file.exists() and (lines := file.read_text().split()):
                return int(lines[0])
            time.sleep(0.1)
        raise SystemExit(f"error: Chromium did not start:\n{(file.parent / 'log').read_text()}")

    def open(self, url: str, width=1400, height=900, dark=False) -> "Page":
        """A new tab of a size, in the light or in the dark, that shows an address."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Page(json.load(answer)["webSocketDebuggerUrl"], url, width, height, dark)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        shutil.rmtree(self.profile, ignore_errors=True)


class Page:
    """A tab. What it asked for, what it complained of and how long its tasks took is kept."""

    def __init__(self, debugger: str, url: str, width: int, height: int, dark: bool):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.answers: queue.Queue = queue.Queue()
        self.numbers = iter(range(1, 1 << 30))
        self.socket = websocket.create_connection(debugger, timeout=None, suppress_origin=True)
        threading.Thread(target=self._listen, daemon=True).start()
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH_TASKS)
        self.send("Page.navigate", url=url)

    def _listen(self) -> None:
        while True:
            try:
                message = json.loads(self.socket.recv())
            except (OSError, ValueError, websocket.WebSocketException):
                return
            if "id" in message:
                self.answers.put(message)
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, told: dict) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", str(details)))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.complaints.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])

    def send(self, method: str, **parameters) -> dict:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = self.answers.get(timeout=60)
            if answer["id"] == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def resize(self, width: int, height: int) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def ask(self, expression: str):
        """The value of an expression of the page, as JSON."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60):
        """Waits until an expression is true, and gives its value."""
        end = time.monotonic() + seconds
        while True:
            if value := self.ask(f"(() => {{ try {{ return {expression} }} catch {{}} }})()"):
                return value
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {expression}")
            time.sleep(0.1)

    def key(self, name: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name)

    def picture(self, path: Path, whole: bool = True) -> None:
        """Writes what is to be seen as PNG; the whole page, or what fits the window."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def longest_task(self) -> float:
        """The longest task so far, in milliseconds; 0 where none took 50 or longer."""
        return self.ask("Math.max(0, ...globalThis.longTasks)")

    def close(self) -> None:
        self.send("Page.close")
        self.socket.close()


WATCH_TASKS = """
globalThis.longTasks = [];
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) globalThis.longTasks.push(task.duration);
}).observe({ type: "longtask", buffered: true });
"""
