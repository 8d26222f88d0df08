"""A page in a real browser, Chromium without a window, driven by its DevTools protocol."""

import asyncio
import contextlib
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.server import until

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium")
_SECONDS = 30
# The violations of the content policy, recorded by the page itself.
_KEEP_VIOLATIONS = """
window.violations = []
document.addEventListener('securitypolicyviolation', event => violations.push(event.violatedDirective))
"""


class Page:
    """A page that a test reads and clicks by JavaScript through DevTools, which ignores the content policy."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count()

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the DevTools."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while (answer := await self._socket.receive_json()).get("id") != number:
            pass
        return answer["result"]

    async def open(self, url: str) -> None:
        """Go there."""
        await self.call("Page.enable")
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=_KEEP_VIOLATIONS)
        await self.call("Page.navigate", url=url)

    async def ask(self, script: str) -> Any:
        """Return the value of an expression."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until an expression is true. Raises TimeoutError."""
        async with asyncio.timeout(_SECONDS):
            while True:
                if await self.ask(script):
                    return
                await asyncio.sleep(0.2)

    async def click(self, selector: str) -> None:
        """Click the first element of the selector, once there is one."""
        await self.until(f"!!document.querySelector({selector!r})")
        await self.ask(f"document.querySelector({selector!r}).click()")


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[str]:
    """Yield the address of a browser that keeps its state in the directory; it is killed at the end."""
    assert PROGRAM
    process = subprocess.Popen(
        [
            *(
                PROGRAM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ),
            *(f"--user-data-dir={directory}", "--remote-debugging-port=0", "about:blank"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    port = directory / "DevToolsActivePort"
    try:
        until(lambda: port.exists() and port.read_text(), "the browser listens")
        yield f"http://127.0.0.1:{port.read_text().splitlines()[0]}"
    finally:
        process.terminate()
        process.wait(_SECONDS)


@contextlib.asynccontextmanager
async def page_of(browser: str) -> AsyncIterator[Page]:
    """Yield the one page of a browser."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{browser}/json/list") as answer:
            [page] = [page for page in await answer.json() if page["type"] == "page"]
        async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            yield Page(socket)
