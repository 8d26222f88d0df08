"""Addresses to which others may make the service connect: the same ones on every Python."""

from ipaddress import ip_address

import pytest

from interface.outbound.http_out.public_address import is_public


@pytest.mark.parametrize(
    "address",
    [
        # The IANA IPv4 Special-Purpose Address Registry, and multicast: one address of each range.
        "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.31.0.1", "192.0.0.8",
        "192.0.0.9", "192.0.0.10", "192.0.0.170", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1",
        "192.168.1.1", "192.175.48.1", "198.19.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
        "240.0.0.1", "255.255.255.255",
        # The IANA IPv6 Special-Purpose Address Registry.
        "::", "::1", "100::1", "100:0:0:1::1", "2001::1", "2001:1::1", "2001:1::2", "2001:1::3", "2001:2::1",
        "2001:3::1", "2001:4:112::1", "2001:10::1", "2001:20::1", "2001:30::1", "2001:db8::1", "2002:101:101::",
        "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fe80::1",
        # Site local, multicast, and blocks that are not assigned.
        "fec0::1", "ff02::1", "ff0e::1", "200::1", "400::1", "4000::1", "e000::1",
        # An embedded IPv4 address: mapped, compatible, NAT64, local NAT64, 6to4, Teredo.
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:192.88.99.1", "::10.0.0.1", "::1.1.1.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1::101:101", "2002:7f00:1::", "2001:0:101:101::1",
        # A zone id.
        "fe80::1%eth0", "2606:4700::1111%1",
    ],
)  # fmt: skip
def test_an_address_that_is_no_global_unicast_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "93.184.216.34", "100.63.255.255", "172.32.0.1", "192.0.1.1", "223.255.255.254",
        "2001:200::1", "2606:4700::1111", "3ffe::1", "::ffff:1.1.1.1", "64:ff9b::101:101",
    ],
)  # fmt: skip
def test_other_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))
