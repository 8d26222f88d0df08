"""Handlers get their ports and settings by the names of their parameters."""

from importlib import import_module
from pkgutil import walk_packages
from typing import Any, get_type_hints

import pytest
from fastapi import APIRouter

import interface.http
from interface.composition.register import CAPABILITIES, PERMISSIONS, HandlerContext
from interface.http.core.call_route import CallRoute, Permitted
from interface.http.core.permissions import DELIVERY_OVERRIDE
from interface.settings import Settings
from tests.support.fakes import FakeClock, FakeRandomness, FakeSealer

TOOLS = HandlerContext(FakeClock(), FakeRandomness(), FakeSealer(), Settings(max_batch=7))
HANDLERS = [handler for capability in CAPABILITIES for handler in capability.handlers.values()]


def test_a_handler_gets_ports_and_settings_by_the_names_of_its_parameters() -> None:
    def handler(command: str, *, clock: FakeClock, max_batch: int) -> tuple[Any, ...]:
        return command, clock, max_batch

    assert TOOLS.bind(handler)("reset") == ("reset", TOOLS.clock, 7)


def test_a_parameter_that_is_neither_a_port_nor_a_setting_is_refused_at_the_start() -> None:
    def handler(*, no_such_setting: int) -> None: ...

    with pytest.raises(AttributeError, match="no_such_setting"):
        TOOLS.bind(handler)


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
def test_a_handler_declares_the_type_of_each_setting_that_it_gets(handler: Any) -> None:
    hints = get_type_hints(handler)
    given = TOOLS.bind(handler).keywords
    for name in given.keys() - vars(TOOLS).keys() - {"enqueue"}:
        owner = getattr(Settings, name, None)
        declared = get_type_hints(owner.fget)["return"] if owner else get_type_hints(Settings)[name]
        assert hints[name] == declared, name


def test_the_rooms_declare_exactly_the_permissions_that_their_routes_require() -> None:
    modules = [
        import_module(found.name) for found in walk_packages(interface.http.__path__, "interface.http.")
    ]
    routers = [value for module in modules for value in vars(module).values() if isinstance(value, APIRouter)]
    dependencies: list[Any] = [
        found.call
        for router in routers
        for route in router.routes
        if isinstance(route, CallRoute)
        for found in route.dependant.dependencies
    ]
    required = {name for found in dependencies if isinstance(found, Permitted) for name in found._permissions}

    # No route requires the last one: it lifts a limit.
    assert sorted({*required, DELIVERY_OVERRIDE}) == PERMISSIONS
