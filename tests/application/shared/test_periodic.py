import threading

import pytest

from application.shared.errors import StoreUnavailable
from application.shared.periodic import Periodic


class Task:
    def __init__(self, failure: Exception | None = None) -> None:
        self.runs = threading.Semaphore(0)
        self.count = 0
        self.failure = failure

    def __call__(self) -> None:
        self.count += 1
        self.runs.release()
        if self.failure:
            raise self.failure


def test_an_eager_task_runs_at_start_and_stop() -> None:
    task = Task()
    periodic = Periodic("task", task, every_seconds=3600, eager=True)
    assert task.runs.acquire(timeout=10)

    periodic.close()

    assert task.count == 2


def test_a_task_that_is_not_eager_runs_on_wake_up_and_at_the_interval() -> None:
    task = Task()
    periodic = Periodic("task", task, every_seconds=3600)
    periodic.wake()
    assert task.runs.acquire(timeout=10)

    periodic.close()

    assert task.count == 1


def test_a_task_is_repeated_after_failures() -> None:
    for failure in (None, StoreUnavailable("gone"), ValueError("a bug")):
        task = Task(failure)
        periodic = Periodic("task", task, every_seconds=0.001)

        assert all(task.runs.acquire(timeout=10) for _ in range(5))
        periodic.close()


def test_close_abandons_a_run_after_the_time_out(caplog: pytest.LogCaptureFixture) -> None:
    begun, end = threading.Event(), threading.Event()

    def task() -> None:
        begun.set()
        end.wait(30)

    periodic = Periodic("visits", task, every_seconds=0.001)
    assert begun.wait(10)
    periodic.close(0.01)
    end.set()
    periodic.close()

    assert [record.getMessage() for record in caplog.records] == [
        "visits did not finish in time; the rest is done after the next start"
    ]
