"""The URL and the secret of a subscription are in no file and no table of the store, except sealed."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from interface.composition.http_app import http_app
from interface.composition.service import start
from interface.settings import Settings
from tests.support.web import BASE
from tests.system.test_secrets import Seen, files_of, how_many_are_in, postgres

SUBSCRIPTION = f"{BASE}/client-123/subscriptions/siem"


def test_the_url_and_the_secret_of_a_subscription_are_stored_sealed_only(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with TestClient(
        http_app(start(Settings(database_url=database_url, migrate_at_start=True, push=False)))
    ) as client:
        Seen().all_of(client)
        answer = client.put(SUBSCRIPTION, json={"url": "https://siem.example/hooks/t0k3n?key=s3cret"})
        stored = [*files_of(tmp_path), *postgres(database_url, 0)]

    secret = answer.json()["secret"]
    found = how_many_are_in(stored, ["t0k3n", "s3cret", secret, secret.removeprefix("whsec_")])
    there = how_many_are_in(stored, ["siem.example"])
    assert answer.status_code == 201
    assert found == 0
    assert there > 0
