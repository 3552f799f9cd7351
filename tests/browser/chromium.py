"""Chromium without a window, spoken to through two pipes, with nothing but what Python brings.

The protocol is Chromium's own: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "chromium-browser", "chrome")
PATIENCE = 120.0  # seconds for any answer


class Chromium:
    """A browser with one page.

    Args:
        width, height: of the page in pixels.
        dark: whether the page is told that dark colours are preferred.

    Raises:
        FileNotFoundError: none is installed.
    """

    def __init__(self, width=900, height=900, dark=False):
        self.size, self.dark = (width, height), dark
        found = (shutil.which(name) for name in (os.environ.get("CHROMIUM", ""), *NAMES) if name)
        self.program = next(filter(None, found), None)
        if self.program is None:
            raise FileNotFoundError(f"there is no Chromium; install one of {', '.join(NAMES)}, or name it in CHROMIUM.")
        self.numbers, self.events, self.rest = iter(range(1, 10**9)), [], b""

    def __enter__(self) -> "Chromium":
        self.home = TemporaryDirectory()
        to_read, self.to = os.pipe()  # Chromium reads from 3 and writes to 4
        self.source, to_write = os.pipe()
        width, height = self.size
        command = [
            *(self.program, "--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu"),
            *(f"--user-data-dir={self.home.name}", f"--window-size={width},{height}", "--no-first-run"),
            "about:blank",
        ]
        shell = 'exec 3<&"$0" 4>&"$1"; shift; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, str(to_read), str(to_write), *command],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.session = None
        page = next(each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log", "Network"):
            self.call(f"{domain}.enable")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        return self

    def __exit__(self, *error) -> None:
        self.process.terminate()
        self.process.wait()
        os.close(self.to)
        os.close(self.source)
        for _ in range(20):  # its children write for a moment more
            try:
                return self.home.cleanup()
            except OSError:
                time.sleep(0.1)
        self.home.cleanup()

    def call(self, method, **params) -> dict:
        """One call of the protocol; what happens meanwhile is added to `events`."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        while b"\0" not in self.rest:
            if not select.select([self.source], [], [], PATIENCE)[0]:
                raise TimeoutError("Chromium does not answer.")
            read = os.read(self.source, 2**20)
            if not read:
                raise EOFError("Chromium has ended.")
            self.rest += read
        first, _, self.rest = self.rest.partition(b"\0")
        return json.loads(first)

    def open(self, address) -> None:
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def ask(self, expression):
        """The value of an expression in the page, awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            said = found["exceptionDetails"]
            raise RuntimeError(said.get("exception", {}).get("description") or said["text"])
        return found["result"].get("value")

    def until(self, expression) -> None:
        end = time.monotonic() + PATIENCE
        while not self.ask(expression):
            if time.monotonic() > end:
                raise TimeoutError(expression)
            time.sleep(0.05)

    def give(self, selector, *paths) -> None:
        """Choose files in an input, as a user does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(Path(path).resolve()) for path in paths])

    def photograph(self, path) -> None:
        """The page as it is seen, into a PNG."""
        content = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        Path(path).write_bytes(base64.b64decode(content))
