"""What must not be seen."""


class Secret:
    """Characters that print as `***`: only `reveal` gives them, so a search for that word finds every use."""

    __slots__ = ("_characters",)

    def __init__(self, characters: str) -> None:
        self._characters = characters

    def reveal(self) -> str:
        """Return the characters."""
        return self._characters

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret is never pickled")
