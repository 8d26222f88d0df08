import pytest

from domain.shared.identifiers import InvalidIdentifier, check_new_id, fault_of_id, fault_of_new_id


@pytest.mark.parametrize(
    "text",
    ["", "x" * 51, ".", "..", "a\x00", "a\n", "\x7f", "\x85", "\ud800", "a\udfff"],
    ids=ascii,
)
def test_no_request_can_name_such_an_id(text: str) -> None:
    assert fault_of_id(text)
    assert fault_of_new_id(text) == fault_of_id(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (" a", "blank"),
        ("a ", "blank"),
        ("a\u3000", "blank"),
        ("\xa0\xe4", "blank"),
        ("a\u0308", "NFC"),
        ("\u212b", "NFC"),  # ANGSTROM SIGN
        ("\u1100\u1161", "NFC"),  # conjoining jamo
        ("a\u202eb", "U+202E"),
        ("a\u200bb", "U+200B"),
        ("a\u200db", "U+200D"),
        ("a\xadb", "U+00AD"),
        ("a\ufeffb", "U+FEFF"),
        ("a\u2066b", "U+2066"),
        ("a\ufe0f", "U+FE0F"),
        ("\u3164", "U+3164"),
        ("a\U000e0041", "U+E0041"),
        ("a\u0378", "U+0378"),
        ("a\ufdd0", "U+FDD0"),
        ("a\u2028b", "U+2028"),
    ],
    ids=ascii,
)
def test_a_new_id_that_breaks_a_rule_is_refused_with_the_rule(text: str, fault: str) -> None:
    assert fault_of_id(text) is None
    with pytest.raises(InvalidIdentifier, match=r"^userExtId must .*\.$") as refused:
        check_new_id("userExtId", text)
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    "text", ["a", "a b", "x" * 50, "\xe4\xf6", "用户", "אב", "أب", "\U0001f600", "\ue000", "a.b"]
)
def test_a_new_id_may_have_visible_characters_of_any_script(text: str) -> None:
    check_new_id("userExtId", text)
