"""A token issuer that hangs or fails stops no caller whose key is known, and the operator sees it."""

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from interface.composition.register import PERMISSIONS
from tests.support.receiver import HANGS, Received, answer, receiving
from tests.support.server import NO_DELIVERY, Server, serving, until

ED = Ed25519PrivateKey.generate()
KEY_SET = json.dumps({"keys": [{**OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True), "kid": "known"}]})
AGE = re.compile(r"^tickets_token_keys_age_seconds [1-9][0-9.]*$", re.MULTILINE)


def header(number: int, kid: str = "known") -> dict[str, str]:
    claims = {
        "iss": "idp",
        "aud": "tickets",
        "sub": f"caller-{number}",
        "clients": ["*"],
        "permissions": PERMISSIONS,
        "exp": datetime.now(UTC) + timedelta(minutes=5),
    }
    return {"Authorization": f"Bearer {jwt.encode(claims, ED, 'EdDSA', headers={'kid': kid})}"}


def statuses(server: Server, headers: Sequence[dict[str, str]]) -> set[int]:
    def status(one: dict[str, str]) -> int:
        url = f"{server.client.base_url}client-1/users/absent"
        return httpx.get(url, headers=one, trust_env=False, timeout=60).status_code

    with ThreadPoolExecutor(len(headers)) as threads:
        return set(threads.map(status, headers))


def test_known_keys_are_accepted_while_the_issuer_hangs_and_then_fails(
    sqlite_url: str, tmp_path: Path
) -> None:
    now: dict[str, bytes | None] = {"response": answer(200, body=KEY_SET.encode())}

    def respond(_: Received) -> bytes | None:
        return now["response"]

    with (
        receiving(respond) as issuer,
        serving(
            tmp_path,
            sqlite_url,
            **NO_DELIVERY,
            TICKETS_JWKS_URL=issuer.url("/jwks"),
            TICKETS_JWKS_LIFESPAN_SECONDS="2",
            TICKETS_JWKS_COOLDOWN_SECONDS="1",
            TICKETS_TOKEN_ISSUER="idp",
            TICKETS_TOKEN_AUDIENCE="tickets",
        ) as server,
    ):
        base = f"http://127.0.0.1:{server.port}"

        def shown(path: str) -> str:
            return httpx.get(base + path, trust_env=False).text

        until(lambda: '"issuer":"ok"' in shown("/readyz"), "the key set is fetched")
        now["response"] = HANGS
        until(lambda: "seconds old" in shown("/readyz"), "it hangs")
        with ThreadPoolExecutor(1) as others:
            unknown = others.submit(statuses, server, [header(n, f"made-up-{n}") for n in range(45)])
            known = statuses(server, [header(n) for n in range(8)])
        ready = httpx.get(f"{base}/readyz", trust_env=False)
        until(lambda: AGE.search(shown("/metrics")), "the metric shows it")
        now["response"] = answer(200, body=KEY_SET.encode())
        until(lambda: '"issuer":"ok"' in shown("/readyz"), "it is fetched again")
        until(lambda: "tickets_token_keys_age_seconds 0.0" in shown("/metrics"), "the metric is reset")
        log = server.log.read_text()

    assert known == {httpx.codes.NOT_FOUND}
    assert unknown.result() == {httpx.codes.SERVICE_UNAVAILABLE}
    assert ready.status_code == httpx.codes.OK
    assert "127.0.0.1" not in ready.text
    assert "the token issuer's key set cannot be fetched: no response within 5 seconds" in log
    assert "the token issuer's key set was fetched after" in log
    assert "Traceback" not in log


def test_a_server_that_never_fetched_the_keys_is_not_ready(sqlite_url: str, tmp_path: Path) -> None:
    with (
        receiving(lambda _: answer(500)) as issuer,
        serving(
            tmp_path,
            sqlite_url,
            **NO_DELIVERY,
            TICKETS_JWKS_URL=issuer.url("/jwks"),
            TICKETS_TOKEN_ISSUER="idp",
            TICKETS_TOKEN_AUDIENCE="tickets",
        ) as server,
    ):
        ready = httpx.get(f"http://127.0.0.1:{server.port}/readyz", trust_env=False)
        refused = statuses(server, [header(0)])

    assert ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert ready.json()["checks"]["issuer"] == "no valid key of the token issuer is known"
    assert refused == {httpx.codes.SERVICE_UNAVAILABLE}
