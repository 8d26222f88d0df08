import re
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema_rs import meta
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from tests.support.server import PROJECT
from tests.support.web import BASE, Web, references

TICKET = f"{BASE}/{{clientExtId}}/users/{{userExtId}}/ticket"
USER = f"{BASE}/{{clientExtId}}/users/{{userExtId}}"
POLICIES = f"{BASE}/{{clientExtId}}/policies"
SSF = f"{BASE}/{{clientExtId}}/ssf"
STREAMS = f"{SSF}/streams"
SUBSCRIPTIONS = f"{BASE}/{{clientExtId}}/subscriptions"

# The fields of nevisIDM's schema, in its order.
BULK = f"{BASE}/{{clientExtId}}/bulk/resets"
STATES = [
    "initial",
    "active",
    "tmp-locked",
    "fail-locked",
    "reset-code",
    "admin-changed",
    "disabled",
    "archived",
]
TYPES = [
    "Password", "Certificate", "SecurID User Mapping", "Ticket Authorization", "Safeword User Mapping", "OTP Card",
    "Temporary Strong Password", "Generic Credential", "Kerberos", "mTan", "Vasco", "PUK", "URL Ticket",
    "DevicePassword", "MobileSignature", "SAML Federation", "Security Questions", "Context Password", "OATH",
    "FIDO UAF Authenticator", "Recovery Code", "FIDO2 Authenticator",
]  # fmt: skip
FIELDS = [
    "created", "lastModified", "version", "extId", "userExtId", "policyExtId", "stateName", "stateChangeReason",
    "stateChangeDetail", "lastSuccessfulLoginDate", "successfulLoginCount", "lastFailedLoginDate",
    "failedLoginCount", "modificationComment", "type", "validity", "ticket", "failureCount", "successCount",
    "resetCount",
]  # fmt: skip

READ = {200, 304, 400, 401, 403, 404, 406, 413, 500, 503}
LIST = READ - {304} | {429}
WRITE = {400, 401, 403, 404, 406, 412, 413, 415, 422, 429, 500, 503}
STATUSES = {
    ("post", f"{TICKET}/reset"): WRITE | {200},
    ("post", TICKET): WRITE | {201},
    ("get", TICKET): READ,
    ("put", USER): WRITE - {404, 422} | {200, 201},
    ("get", USER): READ,
    ("patch", TICKET): WRITE | {200, 409},
    ("delete", TICKET): {204, 400, 401, 403, 404, 406, 412, 413, 429, 500, 503},
    ("post", f"{TICKET}/verify"): WRITE | {200},
    ("get", POLICIES): LIST - {404},
    ("get", f"{BASE}/{{clientExtId}}/users"): LIST - {404},
    ("get", f"{BASE}/{{clientExtId}}/tickets"): LIST - {404},
    ("delete", USER): {204, 400, 401, 403, 404, 406, 412, 413, 429, 500, 503},
    ("get", f"{POLICIES}/{{policyExtId}}"): READ,
    ("put", f"{POLICIES}/{{policyExtId}}"): WRITE - {404} | {200, 201},
    ("post", f"{BASE}/{{clientExtId}}/import"): WRITE | {200},
    ("get", f"{TICKET}/history"): LIST,
    ("get", f"{TICKET}/deliveries"): LIST,
    ("post", f"{TICKET}/deliveries/retry"): (WRITE - {412, 415}) | {202},
    ("get", f"{TICKET}/evidence"): LIST,
    ("get", f"{BASE}/{{clientExtId}}/evidence"): LIST,
    ("get", f"{BASE}/{{clientExtId}}/history"): LIST - {404},
    ("get", f"{BASE}/{{clientExtId}}/checkpoints"): LIST - {404},
    ("get", f"/.well-known/ssf-configuration{BASE}/{{clientExtId}}"): {200, 400, 413, 500},
    ("get", "/.well-known/ticket-ledger-keys"): {200, 400, 413, 500},
    ("get", "/.well-known/jwks.json"): {200, 400, 413, 500},
    ("post", STREAMS): WRITE | {201},
    ("get", STREAMS): LIST,
    ("patch", STREAMS): WRITE | {200},
    ("put", STREAMS): WRITE | {200},
    ("delete", STREAMS): {204, 400, 401, 403, 404, 406, 412, 413, 429, 500, 503},
    ("get", f"{SSF}/status"): LIST,
    ("post", f"{SSF}/status"): WRITE | {200},
    ("post", f"{SSF}/verify"): {204, 400, 401, 403, 404, 406, 412, 413, 415, 429, 500, 503},
    ("post", f"{STREAMS}/{{streamId}}/events"): WRITE | {200},
    ("get", SUBSCRIPTIONS): LIST - {404},
    ("get", f"{SUBSCRIPTIONS}/{{name}}"): LIST,
    ("put", f"{SUBSCRIPTIONS}/{{name}}"): WRITE | {200, 201},
    ("delete", f"{SUBSCRIPTIONS}/{{name}}"): {204, 400, 401, 403, 404, 406, 412, 413, 429, 500, 503},
    ("post", f"{SUBSCRIPTIONS}/{{name}}/resume"): WRITE | {200},
    ("post", f"{SUBSCRIPTIONS}/{{name}}/replay"): WRITE | {200},
    ("post", BULK): WRITE | {200, 202, 409},
    ("get", f"{BULK}/{{job}}"): LIST,
    ("get", f"{BULK}/{{job}}/items"): LIST,
    ("post", f"{BULK}/{{job}}/pause"): WRITE | {200, 409},
    ("post", f"{BULK}/{{job}}/resume"): WRITE | {200, 409},
    ("post", f"{BULK}/{{job}}/cancel"): WRITE | {200, 409},
    ("get", f"{BASE}/{{clientExtId}}/events"): LIST,
    ("get", f"{BASE}/{{clientExtId}}/events/stream"): LIST,
}


@pytest.fixture
def document(web: Web) -> Any:
    return web.client.get("/openapi.json").json()


def _schema(document: Any, name: str) -> Any:
    return document["components"]["schemas"][name]


def _enum(document: Any, field: str) -> Any:
    schema = _schema(document, "TicketResponse")["properties"][field]
    return (_schema(document, schema["$ref"].rpartition("/")[2]) if "$ref" in schema else schema)["enum"]


def test_the_document_has_the_version_of_the_project(document: Any) -> None:
    assert document["info"]["version"] == PROJECT["version"]


def test_the_document_is_valid_openapi_3_1(document: Any) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    OPENAPI_31_VALIDATOR.validate(document)
    for schema in document["components"]["schemas"].values():
        meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_references_and_schemas_match(document: Any) -> None:
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert set(references(document)) == schemas


def test_no_two_schemas_have_the_same_name(document: Any) -> None:
    """FastAPI would add the modules to the names of both, and generated clients would change."""
    assert [name for name in document["components"]["schemas"] if "__" in name] == []


def test_every_operation_is_documented_with_its_statuses(document: Any) -> None:
    documented = {
        (method, path): {int(status) for status in operation["responses"]}
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }

    assert documented == STATUSES


def test_every_error_is_a_problem_with_its_codes(document: Any) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
                    assert response["content"] == {"application/problem+json": problem}
                    assert "`errors." in response["description"]
                assert "traceparent" in response["headers"]
    assert set(_schema(document, "Problem")["required"]) >= {"title", "status", "detail", "errors"}
    assert _schema(document, "ErrorMessage")["required"] == ["code", "message"]


def test_every_operation_except_the_well_known_requires_a_token(document: Any) -> None:
    assert document["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    public = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if "security" in operation
    }
    assert public == {path for path in document["paths"] if path.startswith("/.well-known/")}


def test_the_ticket_has_the_fields_of_nevisidm_all_required(document: Any) -> None:
    schema = _schema(document, "TicketResponse")

    assert list(schema["properties"]) == FIELDS
    assert sorted(schema["required"]) == sorted(FIELDS)
    assert list(_schema(document, "ValidityResponse")["properties"]) == ["from", "to"]


def test_states_and_types_are_those_of_nevisidm(document: Any) -> None:
    assert _enum(document, "stateName") == STATES
    assert _enum(document, "type") == TYPES


@pytest.mark.parametrize(
    "field",
    ["version", "successfulLoginCount", "failedLoginCount", "failureCount", "successCount", "resetCount"],
)
def test_counts_are_int32(document: Any, field: str) -> None:
    schema = _schema(document, "TicketResponse")["properties"][field]

    assert (schema["type"], schema["format"]) == ("integer", "int32")


def test_no_header_may_be_null(document: Any) -> None:
    headers = [
        parameter
        for operations in document["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "header"
    ]

    assert headers
    assert all(header["schema"].get("type") == "string" for header in headers)


class _Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_docs_load_only_from_the_service_itself(web: Web) -> None:
    page = web.client.get("/docs")
    links = _Links(page.text).found

    assert page.status_code == 200
    assert "/openapi.json" in page.text
    assert not re.search(r"(https?:)?//[a-z]", page.text)
    assert {link.rpartition(".")[2] for link in links} >= {"js", "css"}
    for link in links:
        asset = web.client.get(link)
        assert asset.status_code == 200
        assert asset.content


def test_the_docs_styles_load_nothing_from_elsewhere(web: Web) -> None:
    styles = web.client.get("/docs/assets/swagger-ui.css").text

    assert not re.search(r"@import|url\([\"']?(https?:)?//", styles)
