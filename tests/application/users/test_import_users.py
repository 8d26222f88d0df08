import itertools
from typing import Any

import pytest

from application.users.find_users import find_users
from application.users.import_users import ImportReport, InvalidImportFile, import_users
from tests.support.fakes import TRACEPARENT
from tests.support.service import Service

HEADER = "userExtId,email,name,language\n"
_ids = itertools.count()


def imported(service: Service, *lines: str, dry_run: bool = False) -> ImportReport:
    report = ImportReport()
    import_users(
        lines,
        "client-123",
        actor="import",
        correlation_id=TRACEPARENT,
        new_command_id=lambda: f"import-{next(_ids)}",
        submit=None if dry_run else service.commands.submit,
        report=report,
    )
    return report


def users(service: Service) -> list[Any]:
    return [
        (user.user_ext_id, user.email, user.name, user.language)
        for user in find_users("client-123", "", 10_000, store=service.store).items
    ]


def test_each_line_registers_a_user(service: Service) -> None:
    report = imported(service, HEADER, "a,a@example.com,Ann,de\n", 'b,b@example.com,"Bo, Jr",\n')

    assert users(service) == [("a", "a@example.com", "Ann", "de"), ("b", "b@example.com", "Bo, Jr", None)]
    assert (report.good, report.created, report.faults) == (2, 2, [])


def test_a_second_run_changes_only_differing_users(service: Service) -> None:
    imported(service, HEADER, "a,a@example.com,,\n", "b,b@example.com,,\n")

    report = imported(service, HEADER, "a,a@example.com,,\n", "b,new@example.com,,\n")

    assert (report.created, report.changed, report.unchanged) == (0, 1, 1)


def test_a_dry_run_changes_nothing(service: Service) -> None:
    report = imported(service, HEADER, "a,a@example.com,,\n", "b,nonsense,,\n", dry_run=True)

    assert (users(service), report.good, len(report.faults)) == ([], 1, 1)


def test_invalid_lines_are_reported_and_valid_ones_imported(service: Service) -> None:
    report = imported(
        service,
        HEADER,
        "a,a@example.com,,\n",
        "b,nonsense,,\n",
        ",c@example.com,,\n",
        "d,d@example.com\n",
        "\n",
        "a,again@example.com,,\n",
        "e\x00,e@example.com,,\n",
        f"{'x' * 51},f@example.com,,\n",
        "g,g@example.com,,german!\n",
        "z,z@example.com,,\n",
    )

    assert [fault.split(":")[0] for fault in report.faults] == [f"line {n}" for n in (3, 4, 5, 7, 8, 9, 10)]
    assert [user[0] for user in users(service)] == ["a", "z"]


def addresses(service: Service) -> list[Any]:
    return [
        (user.user_ext_id, user.email, user.postal_address)
        for user in find_users("client-123", "", 10_000, store=service.store).items
    ]


def test_bars_or_line_breaks_separate_the_lines_of_a_postal_address(service: Service) -> None:
    report = imported(
        service,
        "userExtId,email,name,language,postalAddress\n",
        "a,a@example.com,,,Bahnhofstrasse 1|8001 Zürich\n",
        'b,b@example.com,,,"Bahnhofstrasse 2 | Postfach, 2. Stock\r\n',
        '8001 Zürich"\n',
        "c,c@example.com,,,\n",
    )

    assert addresses(service) == [
        ("a", "a@example.com", ("Bahnhofstrasse 1", "8001 Zürich")),
        ("b", "b@example.com", ("Bahnhofstrasse 2", "Postfach, 2. Stock", "8001 Zürich")),
        ("c", "c@example.com", None),
    ]
    assert (report.good, report.faults) == (3, [])


def test_an_email_is_optional_with_a_postal_address(service: Service) -> None:
    report = imported(
        service, "userExtId,email,postalAddress\n", "a,,Bahnhofstrasse 1|8001 Zürich\n", "b,,\n"
    )

    assert addresses(service) == [("a", None, ("Bahnhofstrasse 1", "8001 Zürich"))]
    assert report.faults == ["line 3: email: Field required"]


def test_a_missing_column_clears_the_postal_address(service: Service) -> None:
    imported(service, "userExtId,email,postalAddress\n", "a,a@example.com,Bahnhofstrasse 1|8001 Zürich\n")

    report = imported(service, "userExtId,email\n", "a,a@example.com\n")

    assert (report.changed, addresses(service)) == (1, [("a", "a@example.com", None)])


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("|".join(["x"] * 7), "line 2: postalAddress: List should have at most 6 items"),
        (f"Bahnhofstrasse 1|{'x' * 61}", "line 2: postalAddress.1: String should have at most 60 characters"),
        ("Bahnhofstrasse 1||8001 Zürich", "line 2: postalAddress.1: String should have at least 1 character"),
        ("|8001 Zürich", "line 2: postalAddress.0: String should have at least 1 character"),
        (" | ", "line 2: postalAddress.0: String should have at least 1 character"),
        ("Bahnhof\tstrasse 1", "line 2: postalAddress.0: must not contain control characters"),
    ],
)
def test_an_invalid_postal_address_is_reported_with_its_line_number(
    service: Service, address: str, fault: str
) -> None:
    report = imported(
        service,
        "userExtId,email,postalAddress\n",
        f"a,a@example.com,{address}\n",
        "b,,Bahnhofstrasse 1|8001 Zürich\n",
    )

    assert [found[: len(fault)] for found in report.faults] == [fault]
    assert [user[0] for user in addresses(service)] == ["b"]


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        (
            "nonsense,,",
            "email: must be an address such as user@example.com. An email address must have an @-sign.",
        ),
        ("a@example.com,\x00,", "name: must not contain control characters"),
        ("a@example.com,,german!", "language: must be a language tag such as en or de-CH"),
    ],
)
def test_a_field_that_breaks_a_rule_is_reported_by_a_sentence(
    service: Service, columns: str, fault: str
) -> None:
    assert imported(service, HEADER, f"a,{columns}\n").faults == [f"line 2: {fault}"]


@pytest.mark.parametrize(
    "header", ["", "email,userExtId\n", "userExtId,email,phone\n", "userExtId,email,name,name\n"]
)
def test_a_file_with_another_header_is_not_imported(service: Service, header: str) -> None:
    with pytest.raises(InvalidImportFile, match="the first line must be"):
        imported(service, header, "a,a@example.com\n")


def test_more_users_than_the_queue_holds_are_imported(service: Service) -> None:
    report = imported(
        service, HEADER, *(f"user-{number:05},u{number}@example.com,,\n" for number in range(5_000))
    )

    assert (report.created, len(users(service))) == (5_000, 5_000)
