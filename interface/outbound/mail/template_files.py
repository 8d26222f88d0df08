"""Finds the files of a template directory, also through symbolic links, as in a Kubernetes ConfigMap."""

from collections.abc import Iterator
from pathlib import Path


class InvalidLink(Exception):
    """A symbolic link leaves the template directory, or has no target or itself as one; the message names it."""


def template_files(directory: Path) -> Iterator[str]:
    """Yield the name of each file, relative to the directory. Raises InvalidLink, OSError.

    Links are followed. Names that begin with two dots are skipped: the volumes of Kubernetes keep their versions there, and
    the links of other names lead to them.
    """
    yield from _files(directory, "", (directory.resolve(),))


def check_inside(directory: Path, name: str) -> Path:
    """Return the real path of a file of the directory. Raises InvalidLink."""
    try:
        real = (directory / name).resolve(strict=True)
    except (OSError, RuntimeError):  # no target, or a loop
        raise InvalidLink(f"{name}: the target of the link does not exist") from None
    if not real.is_relative_to(directory.resolve()):
        raise InvalidLink(f"{name}: the link leaves the directory; copy its target into the directory")
    return real


def _files(directory: Path, above: str, entered: tuple[Path, ...]) -> Iterator[str]:
    for entry in sorted(path.name for path in (directory / above).iterdir()):
        if entry.startswith(".."):
            continue
        name = f"{above}{entry}"
        real = check_inside(directory, name)
        if not real.is_dir():
            yield name
        elif real in entered:
            raise InvalidLink(f"{name}: the link leads to a directory that contains it")
        else:
            yield from _files(directory, f"{name}/", (*entered, real))
