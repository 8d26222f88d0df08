"""Print the part of requirements.lock that runs the service, or the part that builds its wheel, with all hashes.

    python deploy/locked.py {runtime,build}

The lock also holds the development tools. Its comments record which package requires which; the part follows them.
A package may have several entries, each with a marker; the part keeps all of them, and pip chooses by the marker.
`pip install --require-hashes` refuses a part with a gap. Needs only the standard library.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The extras of an installation: brokers and traces, but no development tools.
EXTRAS = ("nats", "kafka", "otel")


def wanted(what: str, pyproject: str) -> set[str]:
    """Return the names of the packages that pyproject.toml requires for a part."""
    read = tomllib.loads(pyproject)
    if what == "build":
        return _names(read["build-system"]["requires"])
    optional = read["project"]["optional-dependencies"]
    extras = (requirement for extra in EXTRAS for requirement in optional.get(extra, ()))
    return _names([*read["project"]["dependencies"], *extras])


def part(lock: str, names: set[str]) -> str:
    """Return the entries of these packages and of their dependencies. Raises KeyError for a package without one."""
    entries: dict[str, str] = {}
    for entry in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]:
        entries[_name(entry)] = entries.get(_name(entry), "") + entry
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
    """Print the part that the command line names."""
    [what] = sys.argv[1:]
    names = wanted(what, (ROOT / "pyproject.toml").read_text())
    print(part((ROOT / "requirements.lock").read_text(), names), end="")


if __name__ == "__main__":
    main()
