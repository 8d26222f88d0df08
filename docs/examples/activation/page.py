# ruff: noqa: RUF001 - French and Italian write an apostrophe so
"""An activation page: a person enters user id and ticket, and reads in their language whether the ticket is accepted.

Settings: TICKETS_API (URL of the client, such as http://127.0.0.1:8000/nevisidm/api/core/v1/client-123) and TICKETS_TOKEN (with the
permission AccessControl.CredentialVerify only). Start it with `uvicorn page:app`, behind TLS and a limit of requests.
"""

import os
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from math import ceil
from urllib.parse import parse_qs, quote

import httpx
from babel import negotiate_locale
from babel.dates import format_timedelta
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, StrictUndefined

TEXTS = {
    "de": {
        "title": "Zugang aktivieren",
        "user": "Benutzer-ID",
        "ticket": "Ticket",
        "hint": "Leerzeichen und Bindestriche spielen keine Rolle.",
        "submit": "Aktivieren",
        "verified": "Ihr Zugang ist aktiviert.",
        "wrong-ticket": "Benutzer-ID oder Ticket ist falsch. Prüfen Sie beide Eingaben.",
        "locked-until": "Zu viele falsche Eingaben. Versuchen Sie es {wait} noch einmal.",
        "locked": "Ihr Ticket ist gesperrt. Verlangen Sie beim Helpdesk ein neues.",
        "used": "Dieses Ticket wurde schon verwendet. Verlangen Sie beim Helpdesk ein neues.",
        "expired": "Dieses Ticket ist abgelaufen. Verlangen Sie beim Helpdesk ein neues.",
        "not-yet-valid": "Dieses Ticket ist noch nicht gültig.",
        "disabled": "Ihr Ticket ist deaktiviert. Wenden Sie sich an den Helpdesk.",
        "unavailable": "Das ist im Moment nicht möglich. Versuchen Sie es später noch einmal.",
    },
    "en": {
        "title": "Activate your access",
        "user": "User ID",
        "ticket": "Ticket",
        "hint": "Spaces and hyphens do not matter.",
        "submit": "Activate",
        "verified": "Your access is activated.",
        "wrong-ticket": "The user ID or the ticket is wrong. Please check both.",
        "locked-until": "Too many wrong entries. Please try again {wait}.",
        "locked": "Your ticket is locked. Please ask the helpdesk for a new one.",
        "used": "This ticket has already been used. Please ask the helpdesk for a new one.",
        "expired": "This ticket has expired. Please ask the helpdesk for a new one.",
        "not-yet-valid": "This ticket is not valid yet.",
        "disabled": "Your ticket is disabled. Please contact the helpdesk.",
        "unavailable": "This is not possible at the moment. Please try again later.",
    },
    "fr": {
        "title": "Activer votre accès",
        "user": "Identifiant",
        "ticket": "Ticket",
        "hint": "Les espaces et les traits d’union n’ont pas d’importance.",
        "submit": "Activer",
        "verified": "Votre accès est activé.",
        "wrong-ticket": "L’identifiant ou le ticket est incorrect. Veuillez vérifier les deux.",
        "locked-until": "Trop de saisies incorrectes. Veuillez réessayer {wait}.",
        "locked": "Votre ticket est bloqué. Veuillez en demander un nouveau au service d’assistance.",
        "used": "Ce ticket a déjà été utilisé. Veuillez en demander un nouveau au service d’assistance.",
        "expired": "Ce ticket a expiré. Veuillez en demander un nouveau au service d’assistance.",
        "not-yet-valid": "Ce ticket n’est pas encore valable.",
        "disabled": "Votre ticket est désactivé. Veuillez contacter le service d’assistance.",
        "unavailable": "C’est impossible pour le moment. Veuillez réessayer plus tard.",
    },
    "it": {
        "title": "Attivare l’accesso",
        "user": "ID utente",
        "ticket": "Ticket",
        "hint": "Spazi e trattini non hanno importanza.",
        "submit": "Attiva",
        "verified": "Il suo accesso è attivato.",
        "wrong-ticket": "L’ID utente o il ticket è errato. Verifichi entrambi.",
        "locked-until": "Troppi inserimenti errati. Riprovi {wait}.",
        "locked": "Il suo ticket è bloccato. Ne richieda uno nuovo al servizio di assistenza.",
        "used": "Questo ticket è già stato utilizzato. Ne richieda uno nuovo al servizio di assistenza.",
        "expired": "Questo ticket è scaduto. Ne richieda uno nuovo al servizio di assistenza.",
        "not-yet-valid": "Questo ticket non è ancora valido.",
        "disabled": "Il suo ticket è disattivato. Contatti il servizio di assistenza.",
        "unavailable": "Al momento non è possibile. Riprovi più tardi.",
    },
}
PAGE = Environment(autoescape=True, undefined=StrictUndefined).from_string("""<!DOCTYPE html>
<html lang="{{ language }}">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ text.title }}</title>
<style>
:root { color-scheme: light dark; --page: #f3f4f6; --card: #fff; --ink: #1f2937; --line: #6b7280; --key: #1d4ed8; --bad: #b91c1c; --good: #15803d }
@media (prefers-color-scheme: dark) {
  :root { --page: #111827; --card: #1f2937; --ink: #f3f4f6; --line: #9ca3af; --key: #2563eb; --bad: #fca5a5; --good: #86efac }
}
* { box-sizing: border-box }
body { margin: 0; padding: 1.5rem 1rem; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 26rem; margin: 0 auto; padding: 1.5rem; background: var(--card); border-radius: .5rem }
h1 { margin: 0 0 1rem; font-size: 1.5rem }
label { display: block; margin-top: 1rem; font-weight: 600 }
input { width: 100%; padding: .6rem; font: inherit; color: inherit; background: var(--page); border: 1px solid var(--line); border-radius: .25rem }
#ticket { font-family: Menlo, Consolas, monospace }
small { display: block; margin-top: .25rem }
button { width: 100%; margin-top: 1.5rem; padding: .7rem; font: inherit; font-weight: 600; color: #fff; background: var(--key); border: 0; border-radius: .25rem }
:focus-visible { outline: 3px solid var(--key); outline-offset: 2px }
.result { padding: .6rem .8rem; border-left: 4px solid; overflow-wrap: anywhere }
.bad { color: var(--bad) }
.good { color: var(--good) }
</style>
</head>
<body>
<main>
<h1>{{ text.title }}</h1>
{% if message %}<p class="result {{ 'good' if verified else 'bad' }}" role="{{ 'status' if verified else 'alert' }}">{{ message }}</p>{% endif %}
{% if not verified %}<form method="post">
<label for="user">{{ text.user }}</label>
<input id="user" name="user" value="{{ user }}" required maxlength="50" autocomplete="username" autocapitalize="none" spellcheck="false">
<label for="ticket">{{ text.ticket }}</label>
<input id="ticket" name="ticket" required maxlength="1000" autocomplete="one-time-code" autocapitalize="none" spellcheck="false" aria-describedby="hint">
<small id="hint">{{ text.hint }}</small>
<button>{{ text.submit }}</button>
</form>{% endif %}
</main>
</body>
</html>
""")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LONGEST_FORM = 10_000


def activation_page(service: httpx.AsyncClient) -> FastAPI:
    """Return the page. service: a client with the URL and the token."""
    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def form(request: Request) -> Response:
        return _page(_language(request))

    @app.post("/")
    async def activate(request: Request) -> Response:
        language, body = _language(request), b""
        async for part in request.stream():
            body += part
            if len(body) > _LONGEST_FORM:
                return _page(language, "wrong-ticket")
        fields = parse_qs(body.decode(errors="replace"))
        user, ticket = (fields.get(name, [""])[0].strip() for name in ("user", "ticket"))
        reason, until = await _verify(service, user, ticket)
        return _page(language, reason, user, until)

    return app


async def _verify(service: httpx.AsyncClient, user: str, ticket: str) -> tuple[str, str | None]:
    """Return a key of the texts, and the end of the lock. An unknown user is a wrong ticket: the page does not reveal users."""
    if not user or not ticket or user in (".", ".."):
        return "wrong-ticket", None
    try:
        answer = await service.post(f"users/{quote(user, safe='')}/ticket/verify", json={"ticket": ticket})
    except httpx.TransportError:
        return "unavailable", None
    if answer.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        return "wrong-ticket", None
    if answer.status_code != HTTPStatus.OK:
        return "unavailable", None
    result = answer.json()
    if result["verified"]:
        return "verified", None
    return ("locked-until" if result["lockedUntil"] else result["reason"]), result["lockedUntil"]


def _page(language: str, reason: str = "", user: str = "", until: str | None = None) -> Response:
    text, wait = TEXTS[language], ""
    if until:
        # The time that is left, since the time zone of the person is unknown.
        left = datetime.fromisoformat(until) - datetime.now(UTC)
        minutes = timedelta(minutes=max(1, ceil(left.total_seconds() / 60)))
        wait = format_timedelta(minutes, granularity="minute", add_direction=True, locale=language)
    # A reason of a later release.
    message = text.get(reason, text["unavailable"]).format(wait=wait) if reason else ""
    content = PAGE.render(
        language=language, text=text, message=message, user=user, verified=reason == "verified"
    )
    return HTMLResponse(content, headers={**HEADERS, "Content-Language": language, "Vary": "Accept-Language"})


def _language(request: Request) -> str:
    accepted = request.headers.get("Accept-Language", "")[:200].replace(" ", "").split(",")
    return negotiate_locale([tag.split(";")[0] for tag in accepted], list(TEXTS), sep="-") or "en"


def _from_environment() -> FastAPI:
    headers = {"Authorization": f"Bearer {os.environ['TICKETS_TOKEN']}"}
    return activation_page(
        httpx.AsyncClient(base_url=f"{os.environ['TICKETS_API']}/", headers=headers, timeout=10)
    )


if "TICKETS_API" in os.environ:
    app = _from_environment()
