"""The headers for browsers on every response; pages of other origins may call the service only if a setting allows it."""

import base64
import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response

from interface.http.core.envelope import BODY_LIMIT_BYTES
from tests.support.stores import temporary_store
from tests.support.web import RESET, TICKET, USER, Web, web_over

EVERY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
DESK, OTHER = "https://desk.example", "https://other.example"


def broken(web: Web) -> Response:
    """Send a request that fails with an unexpected error."""

    async def fail(_: object) -> Any:
        raise ZeroDivisionError

    app = web.client.app
    assert isinstance(app, FastAPI)
    app.state.service = dataclasses.replace(app.state.service, load=fail)
    return web.client.get(TICKET)


def too_large(web: Web) -> Response:
    return web.client.post(RESET, content=b" " * (BODY_LIMIT_BYTES + 1))


ANSWERS: dict[str, tuple[int, Callable[[Web], Response]]] = {
    "user": (200, lambda web: web.client.get(USER)),
    "not modified": (304, lambda web: web.client.get(USER, headers={"If-None-Match": "*"})),
    "deleted": (204, lambda web: web.client.delete(TICKET)),
    "malformed": (400, lambda web: web.client.post(RESET, json=[])),
    "no token": (401, lambda web: web.client.get(USER, headers={"Authorization": ""})),
    "no permission": (403, lambda web: web.client.get(USER, headers=web.as_caller(permissions=["no"]))),
    "no such path": (404, lambda web: web.client.get("/")),
    "no such method": (405, lambda web: web.client.options(USER)),
    "too large": (413, too_large),
    "broken": (500, broken),
}
PAGES = ["/openapi.json", "/asyncapi.json", "/livez", "/readyz", "/metrics", "/docs/assets/swagger-ui.css"]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Web]:
    """A service that pages of the helpdesk may call."""
    with temporary_store() as store, web_over(store, tmp_path, cors_origins=[DESK]) as web:
        yield web


def test_every_response_forbids_caching_framing_and_scripts(web: Web) -> None:
    web.given_a_ticket()
    for name, (status, ask) in ANSWERS.items():
        answer = ask(web)

        assert answer.status_code == status, name
        assert reported(answer) == [*EVERY.items(), ("content-security-policy", NOTHING)], name
        assert answer.headers["cache-control"] == "no-store", name


def test_other_pages_forbid_framing_and_scripts_and_may_be_cached(web: Web) -> None:
    for path in PAGES:
        answer = web.client.get(path)

        assert answer.status_code == 200, path
        assert reported(answer) == [*EVERY.items(), ("content-security-policy", NOTHING)], path


def test_the_docs_run_their_own_scripts_and_no_others(web: Web) -> None:
    page = web.client.get("/docs")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]

    assert ["dark-mode" in script for script in scripts] == [True, False]
    assert policy["script-src"] == " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert reported(page)[:4] == list(EVERY.items())


def test_the_docs_use_no_validator_on_the_internet(web: Web) -> None:
    assert '"validatorUrl": null' in web.client.get("/docs").text


def test_the_header_for_tls_is_sent_only_with_its_setting(web: Web, tmp_path: Path) -> None:
    assert "strict-transport-security" not in web.client.get(USER).headers
    with temporary_store() as store, web_over(store, tmp_path, hsts_seconds=300) as secure:
        answers = [ask(secure) for _, ask in ANSWERS.values()] + [secure.client.get("/docs")]

    assert {answer.headers["strict-transport-security"] for answer in answers} == {"max-age=300"}


def test_without_the_setting_no_page_of_another_origin_may_call(web: Web) -> None:
    web.given_a_ticket()
    answers = [ask(web) for _, ask in ANSWERS.values()]
    answers += [preflight(web, DESK), web.client.get(USER, headers={"Origin": DESK})]

    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]


def test_a_page_of_an_allowed_origin_may_call_and_read_the_needed_headers(shared: Web) -> None:
    shared.given_a_ticket()
    shared.client.headers["Origin"] = DESK

    asked = preflight(shared, DESK)
    answers = {name: ask(shared) for name, (_, ask) in ANSWERS.items()}

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == DESK
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert {name: answer.status_code for name, answer in answers.items()} == {
        name: status for name, (status, _) in ANSWERS.items()
    }
    for answer in answers.values():
        assert answer.headers["access-control-allow-origin"] == DESK
        assert answer.headers["vary"] == "Origin"
        shown = answer.headers["access-control-expose-headers"]
        assert shown == "ETag, Location, Retry-After, traceparent, Ticket-Delivery, Preference-Applied"
    for answer in (asked, *answers.values()):
        assert "access-control-allow-credentials" not in answer.headers
        assert reported(answer) == [*EVERY.items(), ("content-security-policy", NOTHING)]


def test_a_page_of_any_other_origin_may_not(shared: Web) -> None:
    shared.given_a_ticket()

    asked = preflight(shared, OTHER)
    answer = shared.client.get(USER, headers={"Origin": OTHER})

    assert asked.status_code == 400
    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in answer.headers


def preflight(web: Web, origin: str) -> Response:
    """Send the preflight request of a browser."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, if-match, prefer, traceparent",
    }
    return web.client.options(RESET, headers=asked)


def reported(answer: Response) -> list[tuple[str, str]]:
    """Return the headers for browsers, with repetitions."""
    names = [*EVERY, "content-security-policy"]
    found = [(name.lower(), value) for name, value in answer.headers.multi_items()]
    return [(name, value) for wanted in names for name, value in found if name == wanted]
