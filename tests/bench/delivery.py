"""The cost of delivery for resets, and the number of mails per second."""

import time
from contextlib import ExitStack

import psutil

from tests.bench.results import Results, Size, progress
from tests.bench.seed import subject
from tests.bench.stage import delivery, staged
from tests.support.deliveries import all_over, minting
from tests.support.mail_server import HANGS, OK, mail_server
from tests.support.server import serving, until


def delivering(store: str, size: Size, results: Results) -> None:
    """Measure resets beside mail servers, alternately, and mails."""
    _resets(store, size, results)
    _mails(store, size, results)


def _resets(store: str, size: Size, results: Results) -> None:
    most = max(size.connections)
    figures: dict[str, list[dict[str, float]]] = {"off": [], "hangs": []}
    with ExitStack() as stack:
        server = stack.enter_context(mail_server(lambda _step, _to: HANGS))
        stages = {
            "off": stack.enter_context(staged(store)),
            "hangs": stack.enter_context(staged(store, smtp_port=server.port)),
        }
        for stage in stages.values():
            stage.measure("reset", most, size.seconds)
        for turn in range(size.rounds):
            for mails, stage in stages.items():
                progress.print(f"{store}: reset, the mail server: {mails}, round {turn + 1}")
                figures[mails].append(stage.measure("reset", most, size.seconds))
                results.figures.append({"part": "delivering", "mails": mails, **figures[mails][-1]})

    def ratios(figure: str) -> list[float]:
        pairs = zip(figures["hangs"], figures["off"], strict=True)
        return [beside[figure] / alone[figure] for beside, alone in pairs]

    name = f"{store}, {most} connections: reset beside a mail server that hangs / delivery off"
    results.target(f"{name}, per second", ratios("per_second"), 0.8, at_most=False)
    results.target(f"{name}, p99", ratios("p99_ms"), 2, at_most=True)


def _mails(store: str, size: Size, results: Results) -> None:
    """Measure the delivery of queued mails, from the first to the last, without other load."""
    taken: list[float] = []

    def note(step: str, _to: str) -> str:
        if step == "DATA":
            taken.append(time.perf_counter())
        return OK

    with staged(store, credentials=size.mails) as stage:
        progress.print(f"{store}: {size.mails} mails")
        with minting(stage.directory, stage.url) as mint:
            mint.reset(*map(subject, range(size.mails)))
        with (
            mail_server(note) as mails,
            serving(stage.directory, stage.url, **delivery(mails.port)) as server,
        ):
            process = psutil.Process(server.process.pid)
            until(lambda: taken, "the first mail is taken")
            begin, before = len(taken), process.cpu_times()
            # The store is read afterwards only, so that this does not affect the measurement.
            until(lambda: len(taken) == size.mails, "every mail is taken", 60 + size.mails / 10)
            after = process.cpu_times()
            all_over(stage.url)
    seconds, cpu = taken[-1] - taken[0], after.user + after.system - before.user - before.system
    results.target(f"{store}: mails in a second", size.mails / seconds, 50, at_most=False)
    results.target(f"{store}: a mail, ms of CPU", cpu * 1000 / max(1, size.mails - begin), 10, at_most=True)
