"""A queue in which clients take turns, and the callers of each client."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")
_Callers = OrderedDict[str, deque[Item]]


class ClientQueueFull(Exception):
    """The items of the client that wait have reached the limit, and its other callers have fewer than this one."""


class QueueFull(Exception):
    """All items that wait have reached the limit, and no client has more than this one."""


class FairQueue(Generic[Item]):
    """Items of callers of clients, taken in turn: one client after the other, and for each client one caller after the other.

    most_per_client, most: the limits of the items that wait. At a limit, the client or caller with the most items loses
    its newest one, so that it cannot keep the others out.
    """

    def __init__(self, most_per_client: int, most: int) -> None:
        self._most_per_client, self._most = most_per_client, most
        self._clients = OrderedDict[str, _Callers[Item]]()

    def __len__(self) -> int:
        return sum(map(_count, self._clients.values()))

    def put(self, client: str, caller: str, item: Item) -> Item | None:
        """Add an item. Returns the item that lost its place, None if there was room.

        Raises ClientQueueFull, QueueFull.
        """
        displaced = self._make_room(client, caller)
        self._clients.setdefault(client, OrderedDict()).setdefault(caller, deque()).append(item)
        return displaced

    def take(self) -> Item | None:
        """Remove and return the next item; None if the queue is empty."""
        if not self._clients:
            return None
        client, callers = self._clients.popitem(last=False)
        caller, items = callers.popitem(last=False)
        item = items.popleft()
        if items:
            callers[caller] = items
        if callers:
            self._clients[client] = callers
        return item

    def _make_room(self, client: str, caller: str) -> Item | None:
        own = self._clients.get(client, OrderedDict())
        if _count(own) >= self._most_per_client:
            if len(own.get(caller, ())) + 1 >= max(map(len, own.values())):
                raise ClientQueueFull
            return self._displace(client)
        if len(self) < self._most:
            return None
        largest = max(self._clients, key=lambda name: _count(self._clients[name]))
        if _count(own) + 1 >= _count(self._clients[largest]):
            raise QueueFull
        return self._displace(largest)

    def _displace(self, client: str) -> Item:
        callers = self._clients[client]
        caller = max(callers, key=lambda name: len(callers[name]))
        item = callers[caller].pop()
        if not callers[caller]:
            del callers[caller]  # other callers are left: a client that loses one has at least two items
        return item


def _count(callers: _Callers[Item]) -> int:
    return sum(map(len, callers.values()))
