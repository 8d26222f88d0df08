"""The growth of stored shapes."""

import json
from typing import Any


def has_grown_from(now: Any, then: Any) -> bool:
    """Return whether two stored values are equal, except that JSON objects may have additional fields."""
    if now == then:
        return True
    try:
        return _contains(json.loads(now), json.loads(then))
    except (TypeError, ValueError):
        return False


def _contains(now: Any, then: Any) -> bool:
    if isinstance(then, dict) and isinstance(now, dict):
        return all(name in now and _contains(now[name], value) for name, value in then.items())
    if isinstance(then, list) and isinstance(now, list) and len(now) == len(then):
        return all(map(_contains, now, then))
    return bool(now == then)
