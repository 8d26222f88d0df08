"""Small separate file systems that a test can fill or break."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.server import until

_ENOUGH = 4096


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of this size in MB; skips if this process cannot mount."""
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(place))
    try:
        yield place
    finally:
        _unmount(place)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leave no byte free on a disk until the end."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, _ENOUGH, 1):
                _fill(file.fileno(), size)
        yield
    finally:
        filler.unlink()


def _fill(descriptor: int, size: int) -> None:
    try:
        while True:
            os.write(descriptor, bytes(size))
    except OSError:
        return


class BreakableDisk:
    """An ext4 in a file that can be made read-only, as the kernel does after an error."""

    def __init__(self, image: Path, place: Path) -> None:
        self._image, self.place = image, place
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        with image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", str(image)], check=True)

    def mount(self) -> None:
        """Mount it."""
        _mount("-o", "loop,errors=remount-ro", str(self._image), str(self.place))

    def break_it(self) -> None:
        """Let the kernel make it read-only from now on, despite open files."""
        _mount("-o", "remount,abort", str(self.place))

    def unmount(self) -> None:
        """Unmount it as soon as it is unused."""
        _unmount(self.place)

    def repair(self) -> None:
        """Check it, as is done at a boot, and mount it."""
        self.unmount()
        subprocess.run(["/sbin/fsck.ext4", "-p", str(self._image)], check=False, stdout=subprocess.DEVNULL)
        self.mount()


@contextmanager
def breakable_disk(directory: Path, place: Path) -> Iterator[BreakableDisk]:
    """Yield such a disk, mounted; skips if this process cannot mount or has no ext4."""
    if not Path("/sbin/mkfs.ext4").exists():
        pytest.skip("no mkfs.ext4 here: apt-get install e2fsprogs")
    disk = BreakableDisk(directory / "disk.img", place)
    disk.mount()
    try:
        yield disk
    finally:
        disk.unmount()


def _mount(*arguments: str) -> None:
    found = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"a file system cannot be mounted here: {found.stderr.strip()}")


def _unmount(place: Path) -> None:
    # A process that was just killed may still use it.
    until(
        lambda: not subprocess.run(["umount", str(place)], check=False, stderr=subprocess.DEVNULL).returncode,
        "it is unmounted",
    )
