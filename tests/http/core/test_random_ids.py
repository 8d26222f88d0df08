import subprocess
import sys

from interface.trace_context import random_id

_IN_BOTH_PROCESSES = """
import os
from interface.trace_context import random_id
random_id(8)
if child := os.fork():
    os.waitpid(child, 0)
print(random_id(16))
"""


def test_an_id_has_the_requested_number_of_random_bytes() -> None:
    found = [random_id(octets) for octets in (8, 16) * 2000]

    assert {len(text) for text in found} == {16, 32}
    assert len({text[:16] for text in found}) == len(found)
    bytes.fromhex("".join(found))


def test_a_forked_process_has_other_ids() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _IN_BOTH_PROCESSES], capture_output=True, text=True, check=True
    )

    first, second = ran.stdout.split()
    assert first != second
