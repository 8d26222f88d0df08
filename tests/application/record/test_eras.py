"""Eras: of which an event is, which ids still hold, and how they are written."""

import pytest

from application.record.eras import NO_ERAS, Era, Eras, EventId, parse_event_id

TWICE = Eras([Era("aaaaaaaa", 100, ""), Era("bbbbbbbb", 120, "")])


def test_a_ledger_that_was_never_put_back_knows_its_events_by_their_positions() -> None:
    assert str(NO_ERAS.at(42)) == "42"
    assert parse_event_id("42") == EventId(42)


def test_an_event_is_of_the_era_in_which_it_was_written() -> None:
    assert [str(TWICE.at(position)) for position in (0, 100, 101, 120, 121)] == [
        "0",
        "100",
        "101~aaaaaaaa",
        "120~aaaaaaaa",
        "121~bbbbbbbb",
    ]


def test_what_was_lost_is_not_taken_for_what_came_in_its_place() -> None:
    assert all(TWICE.holds(TWICE.at(position)) for position in range(130))
    lost = [EventId(101), EventId(121, "aaaaaaaa"), EventId(101, "cccccccc"), EventId(100, "aaaaaaaa")]
    assert not any(map(TWICE.holds, lost))


def test_it_is_told_up_to_where_an_era_holds() -> None:
    assert [TWICE.end_of(era) for era in ("", "aaaaaaaa", "bbbbbbbb", "cccccccc")] == [100, 120, None, None]


def test_two_restores_in_a_row_leave_an_empty_era() -> None:
    eras = Eras([Era("aaaaaaaa", 100, ""), Era("bbbbbbbb", 100, "")])

    assert str(eras.at(101)) == "101~bbbbbbbb"
    assert not eras.holds(EventId(101, "aaaaaaaa"))


def test_the_cut_that_lost_most_of_a_size_is_found() -> None:
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
def test_nonsense_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="an event id is a position"):
        parse_event_id(text)
