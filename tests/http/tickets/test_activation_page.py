"""The example docs/examples/activation, over the service."""

from collections.abc import Iterator
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from re import findall
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from domain.tickets.states import State
from tests.support.web import BASE, Web

PAGE = Path(__file__).parents[3] / "docs" / "examples" / "activation" / "page.py"
LANGUAGES = ("de", "en", "fr", "it")
REASONS = {
    "verified",
    *("wrong-ticket", "locked-until", "locked", "used", "expired", "not-yet-valid", "disabled"),
    "unavailable",
}


def example() -> Any:
    spec = spec_from_file_location("activation_page", PAGE)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE = example()


def page_over(answer: Any) -> TestClient:
    transport = httpx.MockTransport(answer)
    client = httpx.AsyncClient(transport=transport, base_url=f"http://tickets.example{BASE}/client-123/")
    return TestClient(EXAMPLE.activation_page(client))


@pytest.fixture
def page(web: Web) -> Iterator[TestClient]:
    def answer(request: httpx.Request) -> httpx.Response:
        found = web.client.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.content,
            headers={"Content-Type": "application/json"},
        )
        return httpx.Response(found.status_code, content=found.content)

    with page_over(answer) as client:
        yield client


def shown(page: TestClient, ticket: str, user: str = "user-123", language: str = "en") -> str:
    answer = page.post(
        "/", data={"user": user, "ticket": ticket}, headers={"Accept-Language": f"{language}-CH, en;q=0.5"}
    )
    assert answer.status_code == 200
    assert f'<html lang="{language}">' in answer.text
    assert ticket not in answer.text
    return answer.text


def text(reason: str, language: str = "en") -> str:
    return str(EXAMPLE.TEXTS[language][reason])


def test_every_language_has_every_text_and_every_reason() -> None:
    assert set(EXAMPLE.TEXTS) == set(LANGUAGES)
    for texts in EXAMPLE.TEXTS.values():
        assert set(texts) == REASONS | {"title", "user", "ticket", "hint", "submit"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_reason_is_shown_in_the_language_of_the_person(
    web: Web, page: TestClient, language: str
) -> None:
    service = web.service
    web.given_a_user()
    web.given_a_ticket()

    assert text("wrong-ticket", language) in shown(page, "wrong-ticket-1", "unknown-user", language)
    assert text("wrong-ticket", language) in shown(page, "wrong-ticket-2", language=language)
    before, _, after = text("locked-until", language).partition("{wait}")
    for ticket in ("wrong-ticket-3", service.newest().reveal()):
        locked = shown(page, ticket, language=language)
        assert before in locked
        assert f"1 minut{'o' if language == 'it' else 'e'}{after}" in locked.lower()
    service.clock.advance(timedelta(minutes=2))
    shown(page, "wrong-ticket-4", language=language)
    assert text("locked", language) in shown(page, service.newest().reveal(), language=language)
    service.regenerate()
    in_groups = " ".join(findall("....", service.newest().reveal()))
    assert text("verified", language) in shown(page, in_groups, language=language)
    assert text("used", language) in shown(page, in_groups, language=language)
    service.regenerate()
    service.modify(state=State.DISABLED)
    assert text("disabled", language) in shown(page, service.newest().reveal(), language=language)
    service.modify(state=State.ACTIVE)
    service.clock.advance(timedelta(days=6))
    assert text("expired", language) in shown(page, service.newest().reveal(), language=language)


def test_a_refusal_or_an_outage_is_shown_without_details() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    for answer in (fail, lambda _: httpx.Response(401), lambda _: httpx.Response(503)):
        with page_over(answer) as page:
            assert text("unavailable") in shown(page, "any-ticket")


def test_the_page_loads_nothing_escapes_input_and_is_labelled(page: TestClient) -> None:
    empty = page.get("/", headers={"Accept-Language": "rm"})

    assert empty.headers["Cache-Control"] == "no-store"
    assert empty.headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert not findall(r"(?:src|href)=|url\(|@import", empty.text)
    for name in ("user", "ticket"):
        assert f'<label for="{name}">' in empty.text
        assert f'<input id="{name}" name="{name}"' in empty.text
    assert 'role="alert"' in shown(page, "any-ticket", '"><script>')
    assert "<script>" not in shown(page, "any-ticket", '"><script>')
    assert text("wrong-ticket") in page.post("/", content=b"user=" + b"x" * 20_000).text
    for user in ("", ".", "..", "a/b"):
        assert text("wrong-ticket") in shown(page, "any-ticket", user)
