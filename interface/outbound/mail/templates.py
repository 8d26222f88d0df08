"""The texts of mails and letters: sandboxed Jinja templates per client and language."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from traceback import walk_tb
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time, get_timezone_gmt
from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateSyntaxError,
    meta,
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from application.delivery.outbox import PendingDelivery
from domain.policies.policy import OFF
from domain.tickets.ticket import ClearTicket
from interface.outbound.mail.template_files import InvalidLink, check_inside, template_files

BUILT_IN = Path(__file__).with_name("templates")
LANGUAGES = ("de", "en", "fr", "it")
KINDS = ("subject.txt", "mail.txt", "mail.html", "attached.txt", "letter.txt")
PLACEHOLDERS = ("ticket", "ticket_in_groups", "name", "user", "client", "valid_until")
WITH_TICKET = ("mail.txt", "mail.html", "letter.txt")
_EVERY_CLIENT = "_"
_LONGEST_SUBJECT = 200
SAMPLE_TICKET = "k7mWq2xHvT9pRbN4cYdJ8sLf"
_SAMPLE_IN_GROUPS = "k7mW q2xH vT9p RbN4 cYdJ 8sLf"
_SAMPLE = {
    "ticket": SAMPLE_TICKET,
    "ticket_in_groups": _SAMPLE_IN_GROUPS,
    "name": "Zoë <Müller> & Sohn",
    "user": "user-123",
    "client": "client-123",
    "valid_until": "28 November 2026 at 10:42 (CET)",
}
# Babel has neither the words between a date and a time (CLDR: atTime) nor the German "Uhr".
_MOMENTS = {"de": "{}, {} Uhr ({})", "en": "{} at {} ({})", "fr": "{} à {} ({})", "it": "{} alle ore {} ({})"}
_GERMAN_ZONES = {"WET": "WEZ", "WEST": "WESZ", "CET": "MEZ", "CEST": "MESZ", "EET": "OEZ", "EEST": "OESZ"}


class InvalidTemplate(Exception):
    """A template is missing or invalid; the message names it and the reason."""


class Templates:
    """Finds and renders texts.

    directory: contains `<client>/<language>/<kind>`, or `_/<language>/<kind>` for all clients, which override the built-in
    templates, also as symbolic links inside of it; None: built-in templates only. language: for users without a
    language, or with one without a template. time_zone: for users without a time zone.
    """

    def __init__(self, directory: Path | None, *, language: str, time_zone: ZoneInfo) -> None:
        self._directory = directory
        self._language = language
        self._time_zone = time_zone

    def render(self, kind: str, ticket: ClearTicket | None, pending: PendingDelivery) -> str:
        """Return a text for a user. ticket: None for texts without a ticket. Raises InvalidTemplate."""
        language, name = self._find(kind, pending)
        values = self._values(language, pending)
        if ticket is not None:
            values["ticket"] = ticket.reveal()
            values["ticket_in_groups"] = _in_groups(ticket.reveal(), pending.entry.group_size)
        try:
            return self._render(name, values)
        except InvalidTemplate:
            # Jinja's message can contain a value, even the ticket.
            raise InvalidTemplate(
                f"cannot render {name}; `tickets templates check` reports the reason"
            ) from None

    def language_of(self, kind: str, pending: PendingDelivery) -> str:
        """Return the language of a text. Raises InvalidTemplate."""
        return self._find(kind, pending)[0]

    def day_of(self, pending: PendingDelivery, language: str) -> str:
        """Return the day of minting, in the user's time zone and the format of the language."""
        return format_date(self._local(pending.entry.minted, pending), "long", _locale(language, pending))

    def check(self) -> Sequence[str]:
        """Return a text for each fault of a template."""
        return [fault for name in self.names() for fault in self._faults(name)]

    def names(self) -> Sequence[str]:
        """Return the names of the existing and the required templates. Raises InvalidTemplate for an invalid link."""
        found = [f"{_EVERY_CLIENT}/{language}/{kind}" for language in LANGUAGES for kind in KINDS]
        if self._directory:
            found += _DirectoryLoader(self._directory).list_templates()
        return sorted(set(found))

    def _faults(self, name: str) -> Iterator[str]:
        parts = name.split("/")
        if len(parts) != len(("client", "language", "kind")) or parts[-1] not in KINDS:
            yield f"{name}: must be named <client>/<language>/<kind>, with one of the kinds {', '.join(KINDS)}"
            return
        try:
            source = self._environment.loader.get_source(self._environment, name)[0]  # type: ignore[union-attr]
            parsed = self._environment.parse(source, name)
            used = meta.find_undeclared_variables(parsed)
        except Exception as error:  # noqa: BLE001 - the parser also raises ValueError and RecursionError
            yield _describe(name, error)
            return
        for unknown in sorted(used - set(PLACEHOLDERS)):
            line = next(found.lineno for found in parsed.find_all(nodes.Name) if found.name == unknown)
            yield f"{name}, line {line}: unknown placeholder {unknown!r}; expected one of {', '.join(PLACEHOLDERS)}"
        if not used <= set(PLACEHOLDERS):
            return
        try:
            text = self._render(name, _SAMPLE)
        except InvalidTemplate as error:
            yield str(error)
            return
        kind = parts[-1]
        if kind in WITH_TICKET and SAMPLE_TICKET not in text and _SAMPLE_IN_GROUPS not in text:
            yield f"{name}: the ticket is missing"
        if kind not in WITH_TICKET and used & {"ticket", "ticket_in_groups"}:
            yield f"{name}: must not contain the ticket"
        if kind == "subject.txt" and (len(text.splitlines()) != 1 or len(text.strip()) > _LONGEST_SUBJECT):
            yield f"{name}: must be one line of at most {_LONGEST_SUBJECT} characters"

    def _find(self, kind: str, pending: PendingDelivery) -> tuple[str, str]:
        client = quote(pending.entry.subject.client_ext_id, safe="")
        for language in self._languages(pending):
            for owner in (client, _EVERY_CLIENT):
                # RFC 5646: language tags are case-insensitive.
                if name := self._known.get((owner, language.lower(), kind)):
                    return name.split("/")[1], name
        raise InvalidTemplate(f"no template {kind} for this client and language")

    def _languages(self, pending: PendingDelivery) -> Iterator[str]:
        wanted = pending.recipient.language if pending.recipient else None
        for language in (wanted, self._language):
            parts = (language or "").split("-")
            for count in range(len(parts), 0, -1):
                yield "-".join(parts[:count])

    def _values(self, language: str, pending: PendingDelivery) -> dict[str, Any]:
        subject, recipient, ticket = pending.entry.subject, pending.recipient, pending.ticket
        return {
            "name": (recipient and recipient.name) or subject.user_ext_id,
            "user": subject.user_ext_id,
            "client": subject.client_ext_id,
            "valid_until": self._moment(ticket.valid_to, language, pending) if ticket else "",
        }

    def _moment(self, moment: datetime, language: str, pending: PendingDelivery) -> str:
        local, locale = self._local(moment, pending), _locale(language, pending)
        day, time = format_date(local, "long", locale), format_time(local, "short", locale=locale)
        return _MOMENTS.get(locale.language, "{}, {} ({})").format(day, time, _zone_name(local, locale))

    def _local(self, moment: datetime, pending: PendingDelivery) -> datetime:
        try:
            return moment.astimezone(self._zone_of(pending))
        except OverflowError:  # in UTC, the first or the last hours of the calendar
            return moment

    def _zone_of(self, pending: PendingDelivery) -> ZoneInfo:
        name = pending.recipient.time_zone if pending.recipient else None
        try:
            return ZoneInfo(name) if name else self._time_zone
        except (KeyError, ValueError, OSError):  # a zone that only another release knows
            return self._time_zone

    def _render(self, name: str, values: Mapping[str, Any]) -> str:
        try:
            return self._environment.get_template(name).render(values)
        except Exception as error:  # noqa: BLE001 - a template can raise any exception
            raise InvalidTemplate(_describe(name, error)) from None

    @cached_property
    def _known(self) -> Mapping[tuple[str, str, str], str]:
        known = {}
        for name in self._environment.list_templates():
            with suppress(ValueError):  # a file at another depth, which check reports
                client, language, kind = name.split("/")
                known[client, language.lower(), kind] = name
        return known

    @cached_property
    def _environment(self) -> Environment:
        directories = [_DirectoryLoader(self._directory)] if self._directory else []
        return ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([*directories, _BuiltInLoader(BUILT_IN)]),
            autoescape=lambda name: bool(name and name.endswith(".html")),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
        )


def _in_groups(ticket: str, size: int) -> str:
    """Return the ticket with a blank after each group. size: characters of a group, or OFF."""
    return ticket if size == OFF else " ".join(ticket[at : at + size] for at in range(0, len(ticket), size))


def _describe(name: str, error: Exception) -> str:
    """Return the error with its line, if known: Jinja creates a frame for each line of a template."""
    if isinstance(error, TemplateSyntaxError):
        return f"{name}, line {error.lineno}: {error.message}"
    frames = walk_tb(error.__traceback__)
    lines = [line for frame, line in frames if frame.f_code.co_filename.endswith(KINDS)]
    place = f", line {lines[-1]}" if lines else ""
    return f"{name}{place}: {type(error).__name__}: {error}"


def _zone_name(local: datetime, locale: Locale) -> str:
    """Return the abbreviation of a time zone, otherwise its difference to UTC.

    Babel's abbreviations are not used: that of Dublin in summer is GMT, which is wrong by an hour.
    """
    name = f"{local:%Z}"
    if not name.isalpha():
        return get_timezone_gmt(local, "long", locale)
    return _GERMAN_ZONES.get(name, name) if locale.language == "de" else name


def _locale(language: str, pending: PendingDelivery) -> Locale:
    """Return the locale of a text: with the region of the user's language, if that is the language of the text."""
    wanted = (pending.recipient and pending.recipient.language) or ""
    regional = wanted if f"{wanted}-".lower().startswith(f"{language}-".lower()) else language
    try:
        # European date formats unless the language names a region.
        return Locale.parse("en-GB" if regional.lower() == "en" else regional, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale.parse("en-GB", sep="-")


class _DirectoryLoader(FileSystemLoader):
    """The texts of a directory, also through symbolic links inside of it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._directory = directory

    def get_source(self, environment: Environment, template: str) -> Any:
        found = super().get_source(environment, template)
        check_inside(self._directory, template)
        return found

    def list_templates(self) -> list[str]:
        try:
            return list(template_files(self._directory))
        except InvalidLink as error:
            raise InvalidTemplate(str(error)) from None


class _BuiltInLoader(FileSystemLoader):
    """The built-in texts, for all clients."""

    def get_source(self, environment: Environment, template: str) -> Any:
        return super().get_source(environment, template.removeprefix(f"{_EVERY_CLIENT}/"))

    def list_templates(self) -> list[str]:
        return [f"{_EVERY_CLIENT}/{name}" for name in super().list_templates()]
