"""Prints the part of requirements.lock that is needed to run the service, or to build its wheel, hashes and all.

    python deploy/locked.py {runtime,build}

The lock holds the tools of development, too. What is needed is found by its comments, which say through whom each
package came in. pip, told --require-hashes, would refuse a part with a gap. Needs nothing but Python.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What an installation is given beside the service itself: the brokers and traces, too, but no tools of development.
EXTRAS = ("nats", "kafka", "otel")


def wanted(what: str, pyproject: str) -> set[str]:
    """Return the names of the packages that are asked for."""
    read = tomllib.loads(pyproject)
    if what == "build":
        return _names(read["build-system"]["requires"])
    optional = read["project"]["optional-dependencies"]
    extras = (requirement for extra in EXTRAS for requirement in optional.get(extra, ()))
    return _names([*read["project"]["dependencies"], *extras])


def part(lock: str, names: set[str]) -> str:
    """Return the entries of these packages, and of all that came in through them. Raises KeyError for one without."""
    entries = {_name(entry): entry for entry in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]}
    found: dict[str, str] = {}
    while more := names - found.keys():
        found |= {name: entries[name] for name in more}
        names = names | {name for name, entry in entries.items() if _through(entry) & found.keys()}
    return "".join(found[name] for name in sorted(found))


def _through(entry: str) -> set[str]:
    return set(re.findall(r"^ +# +(?:via )?([a-z0-9-]+)$", entry, re.MULTILINE))


def _names(requirements: Iterable[str]) -> set[str]:
    return {_name(requirement) for requirement in requirements}


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0] if found else "").lower()


def main() -> None:
    """Print it."""
    [what] = sys.argv[1:]
    names = wanted(what, (ROOT / "pyproject.toml").read_text())
    print(part((ROOT / "requirements.lock").read_text(), names), end="")


if __name__ == "__main__":
    main()
