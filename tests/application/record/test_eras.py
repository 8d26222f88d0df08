"""Eras: the era of an event, the validity of ids, and their format."""

import pytest

from application.record.eras import NO_ERAS, Era, Eras, EventId, parse_event_id

TWICE = Eras([Era("aaaaaaaa", 100, ""), Era("bbbbbbbb", 120, "")])


def test_the_id_of_an_event_is_its_position_before_any_restore() -> None:
    assert str(NO_ERAS.at(42)) == "42"
    assert parse_event_id("42") == EventId(42)


def test_an_event_belongs_to_the_era_of_its_writing() -> None:
    assert [str(TWICE.at(position)) for position in (0, 100, 101, 120, 121)] == [
        "0",
        "100",
        "101~aaaaaaaa",
        "120~aaaaaaaa",
        "121~bbbbbbbb",
    ]


def test_a_lost_event_is_distinguished_from_its_successor() -> None:
    assert all(TWICE.holds(TWICE.at(position)) for position in range(130))
    lost = [EventId(101), EventId(121, "aaaaaaaa"), EventId(101, "cccccccc"), EventId(100, "aaaaaaaa")]
    assert not any(map(TWICE.holds, lost))


def test_the_last_position_of_an_era_is_known() -> None:
    assert [TWICE.end_of(era) for era in ("", "aaaaaaaa", "bbbbbbbb", "cccccccc")] == [100, 120, None, None]


def test_consecutive_restores_create_an_empty_era() -> None:
    eras = Eras([Era("aaaaaaaa", 100, ""), Era("bbbbbbbb", 100, "")])

    assert str(eras.at(101)) == "101~bbbbbbbb"
    assert not eras.holds(EventId(101, "aaaaaaaa"))


def test_the_restore_that_removed_the_most_entries_is_found() -> None:
    assert [cut and cut.after for cut in map(TWICE.cut_before, (100, 101, 121))] == [None, 100, 100]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "01",
        "1.0",
        "1" * 19,
        "1~",
        "1~AAAAAAAA",
        "1~aaaaaaa",
        "1~aaaaaaaa ",
        "~aaaaaaaa",
        "1\n",
    ],
)
def test_an_invalid_id_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="an event id is a position"):
        parse_event_id(text)
