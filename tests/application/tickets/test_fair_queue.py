import pytest

from application.tickets.fair_queue import ClientQueueFull, FairQueue, QueueFull


def queue_of(*waiting: str, most_per_client: int = 4, most: int = 6) -> FairQueue[str]:
    """Return a queue of these items, each `client caller number`."""
    queue = FairQueue[str](most_per_client, most)
    for item in waiting:
        assert put(queue, item) is None
    return queue


def put(queue: FairQueue[str], item: str) -> str | None:
    client, caller, _ = item.split()
    return queue.put(client, caller, item)


def taken(queue: FairQueue[str]) -> list[str]:
    return [item for item in iter(queue.take, None) if item]


def test_an_empty_queue_has_no_item() -> None:
    assert queue_of().take() is None


def test_clients_take_turns() -> None:
    queue = queue_of("A x 1", "A x 2", "A x 3", "B y 1", "B y 2")

    assert taken(queue) == ["A x 1", "B y 1", "A x 2", "B y 2", "A x 3"]


def test_the_callers_of_a_client_take_turns() -> None:
    queue = queue_of("A x 1", "A x 2", "A x 3", "A y 1", "B z 1")

    assert taken(queue) == ["A x 1", "B z 1", "A y 1", "A x 2", "A x 3"]


def test_a_client_that_comes_back_waits_for_its_turn() -> None:
    queue = queue_of("A x 1", "B y 1")
    assert queue.take() == "A x 1"
    put(queue, "A x 2")

    assert taken(queue) == ["B y 1", "A x 2"]


def test_a_client_at_its_limit_is_refused_and_another_is_not() -> None:
    queue = queue_of("A x 1", "A x 2", "A x 3", "A x 4")

    with pytest.raises(ClientQueueFull):
        put(queue, "A x 5")
    assert put(queue, "B y 1") is None
    assert len(queue) == 5


def test_a_caller_at_the_limit_of_its_client_gives_way_to_another_caller() -> None:
    queue = queue_of("A x 1", "A x 2", "A x 3", "A x 4")

    assert put(queue, "A y 1") == "A x 4"
    assert put(queue, "A y 2") == "A x 3"
    with pytest.raises(ClientQueueFull):
        put(queue, "A y 3")
    assert taken(queue) == ["A x 1", "A y 1", "A x 2", "A y 2"]


def test_the_client_with_the_most_items_gives_way_to_another_client() -> None:
    queue = queue_of("A x 1", "A x 2", "A x 3", "A x 4", "B y 1", "B y 2")

    assert put(queue, "C z 1") == "A x 4"
    assert put(queue, "C z 2") == "A x 3"
    with pytest.raises(QueueFull):
        put(queue, "C z 3")
    assert len(queue) == 6


def test_a_caller_that_loses_its_only_item_is_skipped() -> None:
    queue = queue_of("A x 1", "A y 1", most=2)

    assert put(queue, "B z 1") == "A x 1"
    assert taken(queue) == ["A y 1", "B z 1"]
