import codecs
import itertools
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from application.users.find_users import find_users
from application.users.import_users import ImportReport, InvalidImportFile, import_users
from tests.support.fakes import TRACEPARENT
from tests.support.service import Service

HEADER = "userExtId,email,name,language\n"
_ids = itertools.count()


def imported(
    service: Service, *lines: str | bytes, dry_run: bool = False, client: str = "client-123", **options: Any
) -> ImportReport:
    report = ImportReport()
    import_users(
        [line if isinstance(line, bytes) else line.encode() for line in lines],
        client,
        actor="import",
        correlation_id=TRACEPARENT,
        new_command_id=lambda: f"import-{next(_ids)}",
        submit=None if dry_run else service.commands.submit,
        report=report,
        **options,
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
        'c,c@example.com,,,"Ann Ltd\n',
        "c/o Firm, info@firm.example\n",
        '8000 Town"\n',
    )

    assert addresses(service) == [
        ("a", "a@example.com", ("Bahnhofstrasse 1", "8001 Zürich")),
        ("b", "b@example.com", ("Bahnhofstrasse 2", "Postfach, 2. Stock", "8001 Zürich")),
        ("c", "c@example.com", ("Ann Ltd", "c/o Firm, info@firm.example", "8000 Town")),
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
    "header",
    [
        "",
        "\n",
        "userExtId,name\n",
        "userExtId,email,name,name\n",
        "extId,userExtId,email\n",
        "userExtId|email\n",
        "userExtId,email\n".encode("utf-16-le"),
    ],
)
def test_a_file_with_another_header_is_not_imported(service: Service, header: str | bytes) -> None:
    with pytest.raises(InvalidImportFile, match="the first line must name"):
        imported(service, header, "a,a@example.com\n")


def test_a_broken_header_is_refused_with_its_line(service: Service) -> None:
    with pytest.raises(InvalidImportFile, match="line 1: a quotation mark is not closed"):
        imported(service, '"userExtId,email\n', "a,a@example.com\n")


def test_unknown_columns_are_named_and_ignored_on_demand(service: Service) -> None:
    lines = ("phone,userExtId,email,,dept\n", "1,a,a@example.com,2,3\n")

    with pytest.raises(
        InvalidImportFile, match="unknown columns: phone, column 4 without a name, dept"
    ) as refused:
        imported(service, *lines)
    assert "--ignore-columns" in str(refused.value)

    assert imported(service, *lines, ignore_columns=True).created == 1
    assert users(service) == [("a", "a@example.com", None, None)]


TABLE = [["email", "extId", "name"], ["a@example.com", "a", 'Änne, Jr; "Ä"'], ["b@example.com", "b", ""]]


def written(separator: str, end: str = "\r\n", blank: str = "") -> str:
    """Return the table as spreadsheets write it."""
    quoted = [
        [f'"{cell.replace(chr(34), 2 * chr(34))}"' if "Ä" in cell else cell for cell in row] for row in TABLE
    ]
    return "".join((separator + blank).join(row) + end for row in quoted)


@pytest.mark.parametrize(
    "content",
    [
        *(
            written(separator).encode(encoding)
            for separator in ",;\t"
            for encoding in ("utf-8", "utf-8-sig", "utf-16")
        ),
        codecs.BOM_UTF16_BE + written(";").encode("utf-16-be"),
        written(",", "\n").encode(),
        written(",", blank=" ").encode(),
        (written(";") + "\r\n;;\r\n\r\n").encode(),
        written(",").rstrip("\r\n").encode(),
    ],
)
@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_a_file_is_read_as_spreadsheets_write_it(service: Service, content: bytes, chunk: int) -> None:
    report = imported(service, *(content[place : place + chunk] for place in range(0, len(content), chunk)))

    assert report.faults == []
    assert users(service) == [
        ("a", "a@example.com", 'Änne, Jr; "Ä"', None),
        ("b", "b@example.com", None, None),
    ]


ADDRESS = "userExtId,email,name,language,postalAddress\n"


def test_a_time_zone_is_imported_and_an_unknown_one_reported(service: Service) -> None:
    header = "userExtId,email,timeZone\n"
    lines = ("a,a@example.com,Europe/Zurich\n", "b,b@example.com,\n", "c,c@example.com,CET+1\n")

    report = imported(service, header, *lines)

    assert report.faults == ["line 4: timeZone: must be a time zone such as Europe/Zurich"]
    found = find_users("client-123", "", 10, store=service.store).items
    assert [user.time_zone for user in found] == ["Europe/Zurich", None]


@pytest.mark.parametrize(
    ("lines", "fault", "stored"),
    [
        (
            [
                'r-1,r1@example.com,Ann,en,"Lane 1|8000 Town\n',
                'r-2,r2@example.com,Bob,en,"Road 2|8001 Town"\n',
            ],
            "line 2: a q",
            0,
        ),
        (
            ["r-0,r0@example.com,,,\n", 'r-1,r1@example.com,Ann,en,"Lane 1\n'],
            "line 3: a quotation mark is not closed",
            1,
        ),
        (
            ['r-1,r1@example.com,,,"Lane 1\n', 'r-2,r2@example.com,,,""\n', 'r-3,r3@example.com,,,"\n'],
            "line 2: a",
            0,
        ),
        (
            ['r-1,r1@example.com,,,"Lane 1\n', 'r-2,r2@example.com,,,"\n'],
            "line 2: a field contains a line that looks like that of another user",
            0,
        ),
        (
            ['r-1,,Ann,en,"Lane 1|8000 Town\n', 'r-2,,Bob,en,Road 2|8001 Town"\n', "r-3,,C,en,L|8\n"],
            "line 2: a field contains a line that looks like that of another user",
            0,
        ),
        (['r-1,r1@example.com,,,Lane "1"\n'], "line 2: a quotation mark is inside a field", 0),
        (['r-1,r1@example.com,,,"Lane" 1\n'], "line 2: a quotation mark is inside a field", 0),
        (
            ["r-1,r1@example.com,,,Lane\rr-2,r2@example.com,,,\n"],
            "line 2: a carriage return is inside the row",
            0,
        ),
        (
            ['r-1,r1@example.com,,,"', *["x" * 1000 + "\n"] * 70],
            "line 2: the row has over 65536 characters",
            0,
        ),
        (["r-1,r1@example.com,,,", *["x" * 1000] * 70], "line 2: the row has over 65536 characters", 0),
        (
            ["r-0,r0@example.com,,,\n", "r-1,r1@example.com,M\xfcller,,\n".encode("latin-1")],
            "line 3: not UTF-8",
            1,
        ),
        ([b"r-1,r1@example.com,\xed\xa0\x80,,\n"], "line 2: not UTF-8", 0),
        (["r-1,r1@example.com,\xe4".encode()[:-1]], "line 2: not UTF-8", 0),
    ],
)
def test_a_broken_file_is_not_read_beyond_the_line(
    service: Service, lines: list[str | bytes], fault: str, stored: int
) -> None:
    report = imported(service, ADDRESS, *lines)

    assert [found[: len(fault)] for found in report.faults] == [fault]
    assert report.faults[0].endswith("The rest of the file is not read")
    assert len(users(service)) == stored


def test_the_memory_of_an_import_is_bounded() -> None:
    def endless() -> Iterator[bytes]:
        yield HEADER.encode()
        yield b'a,a@example.com,"'
        for _ in range(100_000):
            yield b"x" * 65_536

    report = ImportReport()
    tracemalloc.start()
    import_users(endless(), "c", actor="a", correlation_id="", new_command_id=str, submit=None, report=report)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert report.bad == 1
    assert peak < 2 * 1024 * 1024


def test_only_the_first_faults_are_kept(service: Service) -> None:
    report = imported(service, HEADER, *["a\n"] * 1500, dry_run=True)

    assert (report.bad, len(report.faults)) == (1500, 1000)


@pytest.mark.parametrize("client", ["", "x" * 51, "..", "a\n", "\udcff"])
def test_a_client_that_no_path_reaches_gets_no_users(service: Service, client: str) -> None:
    with pytest.raises(InvalidImportFile, match=r"^client "):
        imported(service, HEADER, "a,a@example.com,,\n", client=client)


def test_more_users_than_the_queue_holds_are_imported(service: Service) -> None:
    report = imported(
        service, HEADER, *(f"user-{number:05},u{number}@example.com,,\n" for number in range(5_000))
    )

    assert (report.created, len(users(service))) == (5_000, 5_000)
