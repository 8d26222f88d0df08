"""The states of a ticket credential and the table of its transitions.

`docs/states.md` shows this table as a diagram; tests/domain/tickets/test_states.py checks every transition.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The eight states of the contract, by their names; only an import leads to three of them."""

    INITIAL = "initial"
    ACTIVE = "active"
    TMP_LOCKED = "tmp-locked"
    FAIL_LOCKED = "fail-locked"
    RESET_CODE = "reset-code"
    ADMIN_CHANGED = "admin-changed"
    DISABLED = "disabled"
    ARCHIVED = "archived"


SETTABLE = (State.ACTIVE, State.DISABLED, State.ARCHIVED)
"""The states that a caller may set."""


@dataclass(frozen=True)
class Transition:
    """The source and target states of an action. `None`: the credential does not exist."""

    action: str
    sources: tuple[State | None, ...]
    targets: tuple[State | None, ...]


_LIVE = (State.ACTIVE, State.TMP_LOCKED, State.FAIL_LOCKED)
_USABLE = (State.ACTIVE, State.TMP_LOCKED)
# Only an import leads to them. Their tickets do not verify; a reset or an activation makes them active.
_OTHERS = (State.INITIAL, State.RESET_CODE, State.ADMIN_CHANGED)

CREATE = Transition("create", (None,), SETTABLE)
IMPORT = Transition("import", (None,), tuple(State))
REGENERATE = Transition("regenerate", (*_LIVE, *_OTHERS), (State.ACTIVE,))
VERIFY = Transition("correct ticket", _USABLE, (State.ACTIVE,))
WRONG_TICKET = Transition("wrong ticket", _USABLE, _LIVE)
UNLOCK = Transition("lock expires", (State.TMP_LOCKED,), (State.ACTIVE,))
ACTIVATE = Transition(
    "activate", (State.TMP_LOCKED, State.FAIL_LOCKED, State.DISABLED, *_OTHERS), (State.ACTIVE,)
)
ACTIVATE_LOCKED = Transition("activate after 100 wrong tickets", (State.DISABLED,), (State.FAIL_LOCKED,))
DISABLE = Transition("disable", (*_LIVE, *_OTHERS), (State.DISABLED,))
ARCHIVE = Transition("archive", (*_LIVE, State.DISABLED, *_OTHERS), (State.ARCHIVED,))
DELETE = Transition("delete", (*_LIVE, State.DISABLED, State.ARCHIVED, *_OTHERS), (None,))

TRANSITIONS = (
    CREATE,
    IMPORT,
    REGENERATE,
    VERIFY,
    WRONG_TICKET,
    UNLOCK,
    ACTIVATE,
    ACTIVATE_LOCKED,
    DISABLE,
    ARCHIVE,
    DELETE,
)


def mermaid() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{state}" as {state.name}' for state in State]
    for transition in TRANSITIONS:
        for source in transition.sources:
            lines += [
                f"    {_name(source)} --> {_name(target)}: {transition.action}"
                for target in transition.targets
            ]
    return "\n".join(lines)


def _name(state: State | None) -> str:
    return "[*]" if state is None else state.name
