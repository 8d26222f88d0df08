"""The ids of streams are those of RFC 9562, version 5, with any name."""

import random
from uuid import UUID, uuid5

from domain.shared.stream_ids import name_based_id, named_stream_id


def test_an_id_is_the_name_based_uuid(chance: random.Random) -> None:
    for _ in range(200):
        namespace = UUID(int=chance.getrandbits(128))
        name = "".join(chr(chance.choice((*range(0x20, 0x7F), 0xFC, 0x20AC))) for _ in range(9))

        assert name_based_id(namespace, name) == uuid5(namespace, name)
        assert named_stream_id(namespace, name, "user") == uuid5(namespace, f"{name}\x1fuser")
