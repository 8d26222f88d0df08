import pytest

from interface.http.core.headers import Headers, preferred_type

JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ([], JSON),
        ([""], JSON),
        (["*/*"], JSON),
        (["text/csv"], CSV),
        (["TEXT/*"], CSV),
        (["text/csv, application/json"], JSON),
        (["text/csv", "application/json; q=0.9"], CSV),
        (["application/*;q=0.5, text/csv;q=0.4"], JSON),
        (["*/*, application/json;q=0"], CSV),
        (["*/*;q=0.1, application/json;q=0.2, text/csv;q=0.3"], CSV),
        (["text/csv;q=wrong, application/json;q=0.5"], CSV),
        (["text/html"], None),
        (["*/*;q=0"], None),
        (["application/json;q=0.000, text/*;q=0"], None),
    ],
)
def test_the_accepted_type_of_the_highest_quality_is_preferred(
    accept: list[str], preferred: str | None
) -> None:
    headers = Headers([(b"accept", value.encode()) for value in accept])

    assert preferred_type(headers, [JSON, CSV]) == preferred
