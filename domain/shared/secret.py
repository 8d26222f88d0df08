"""Secrets that must not be logged or displayed."""


class Secret:
    """A string that prints as `***`. Only `reveal` returns the value, so a search for that name finds every use."""

    __slots__ = ("_characters",)

    def __init__(self, characters: str) -> None:
        self._characters = characters

    def reveal(self) -> str:
        """Return the value."""
        return self._characters

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")
