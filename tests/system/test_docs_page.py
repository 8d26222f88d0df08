"""The documentation in a real browser: it works under its content policy, and injected scripts are blocked."""

import asyncio
from pathlib import Path

from tests.support.browser import browser, needs_browser, page_of
from tests.support.server import Server, serving

# React notices a value only if the setter of the prototype sets it, since React replaces the setter of the element.
FILL_IN = """
for (const input of document.querySelectorAll('tr[data-param-in=path] input')) {
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, 'user-9')
  input.dispatchEvent(new Event('input', {bubbles: true}))
}
document.querySelector('.execute').click()
"""
ANSWER = "(document.querySelector('.live-responses-table')?.innerText ?? '')"
SLIP_IN = """
const script = document.createElement('script')
script.textContent = 'window.slipped = true'
document.body.append(script)
document.body.insertAdjacentHTML('beforeend', '<img src="https://other.example/" onerror="window.slipped = true">')
fetch('https://other.example/').catch(() => null)
"""
FORBIDDEN = {"script-src-elem", "script-src-attr", "img-src", "connect-src"}


@needs_browser
def test_an_operation_can_be_tried_and_nothing_injected_is_run_or_loaded(
    tmp_path: Path, sqlite_url: str
) -> None:
    with serving(tmp_path, sqlite_url) as server, browser(tmp_path / "browser") as address:
        asyncio.run(try_out(server, address))


async def try_out(server: Server, address: str) -> None:
    async with page_of(address) as page:
        await page.open(f"http://127.0.0.1:{server.port}/docs")
        await page.click(".opblock-summary-control")
        await page.click(".try-out__btn")
        await page.until("document.querySelectorAll('tr[data-param-in=path] input:enabled').length == 2")
        # Sent without a token.
        await page.until(f"(() => {{ {FILL_IN}; return {ANSWER}.includes('401') }})()")
        await page.click(".btn.authorize")
        await page.until("!!document.querySelector('.modal-ux input')")
        # The styles are loaded, too.
        assert await page.ask("getComputedStyle(document.querySelector('.opblock')).borderRadius") == "4px"
        assert await page.ask("violations") == []

        await page.ask(f"(() => {{ {SLIP_IN} }})()")
        await page.until("new Set(violations).size == 4")
        assert set(await page.ask("violations")) == FORBIDDEN
        assert await page.ask("window.slipped") is None
