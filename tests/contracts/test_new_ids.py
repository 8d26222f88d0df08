"""Ids are checked when they are created; ids that release 1.0 stored keep working."""

import pytest

from application.subscriptions.define_subscription import DefineSubscription
from application.users.find_users import find_users
from application.users.import_users import ImportReport, import_users
from domain.shared.identifiers import InvalidIdentifier
from domain.shared.secret import Secret
from domain.shared.subject import Subject
from domain.subscriptions.subscription import Method
from tests.support.fakes import TRACEPARENT
from tests.support.service import Service, command

NFD = "a\u0308"
BAD = [NFD, "a\u200b", "a\u202e", " a", "a "]
HOOK = {"method": Method.WEBHOOK, "url": Secret("https://example.com/hook"), "secret": Secret("s" * 24)}


def subscribe(service: Service, client: str, name: str) -> None:
    service.execute(command(DefineSubscription, subject=Subject(client), name=name, **HOOK))


@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_an_id_that_breaks_the_rule_is_not_created(service: Service, bad: str) -> None:
    service.register(subject=Subject("c", "u"))

    for create, name in (
        (lambda: service.register(subject=Subject("c", bad)), "userExtId"),
        (lambda: service.define(bad, subject=Subject("c")), "policyExtId"),
        (lambda: subscribe(service, "c", bad), "name"),
        (lambda: service.create(subject=Subject("c", "u"), ext_id=bad), "extId"),
        (lambda: service.register(subject=Subject(bad, "u")), "clientExtId"),
        (lambda: service.define("p", subject=Subject(bad)), "clientExtId"),
        (lambda: subscribe(service, bad, "s"), "clientExtId"),
    ):
        with pytest.raises(InvalidIdentifier, match=rf"^{name} must "):
            create()
    assert find_users(bad, "", 10, store=service.store).items == []


@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_a_stored_id_keeps_working_and_its_client_gets_new_users(
    service: Service, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as release_1_0:
        release_1_0.setattr("domain.shared.identifiers.fault_of_new_id", lambda _: None)
        service.register(subject=Subject(bad, bad))
        service.define(bad, subject=Subject(bad))
        subscribe(service, bad, bad)
    assert_changeable(service, bad)


def assert_changeable(service: Service, bad: str) -> None:
    subject = Subject(bad, bad)
    assert service.register(subject=subject, email="new@example.com").outcome == "changed"
    assert service.define(bad, subject=subject).outcome == "changed"
    subscribe(service, bad, bad)
    service.create(subject=subject, policy_ext_id=bad)
    service.regenerate(subject=subject)
    assert service.verify(service.newest(), subject=subject)["verified"]
    service.erase(subject=subject)
    assert service.register(subject=subject).outcome == "created"
    assert service.register(subject=Subject(bad, "new")).outcome == "created"
    with pytest.raises(InvalidIdentifier, match=r"^userExtId must "):
        service.register(subject=Subject(bad, f"{bad}{bad}"))


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_import_refuses_new_ids_with_their_line(service: Service, dry_run: bool) -> None:
    report = ImportReport()
    import_users(
        [f"userExtId,email\na,a@example.com\n{NFD},b@example.com\n".encode()],
        "client-123",
        actor="import",
        correlation_id=TRACEPARENT,
        new_command_id=iter("abc").__next__,
        submit=None if dry_run else service.commands.submit,
        report=report,
    )

    assert report.faults[0].startswith("line 3: userExtId must be in normalisation form C")
    assert (report.good, report.bad, report.created) == (1, 1, 0 if dry_run else 1)
