"""Where nodes and room servers may be: we send requests to their URLs, so nobody may point us at what is not theirs."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from edumeet_recording.domain.errors import InvalidRequest

Address = IPv4Address | IPv6Address

METADATA_HOSTS = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
METADATA_NETWORKS = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # link-local (RFC 3927); every large cloud's metadata service
        "100.100.100.200/32",  # Alibaba Cloud's
        "192.0.0.192/32",  # Oracle Cloud's
        "fe80::/10",
        "fd00:ec2::254/128",  # AWS's over IPv6
    )
)


def check_node_url(url: str, allow: str) -> None:
    """Raises `InvalidRequest` where `url` (http or https, checked) points where no node may be.

    `allow`: comma-separated hosts, `*.suffixes` and CIDRs; empty allows all but link-local and metadata addresses.
    Names are judged as written, not resolved: an allow-list is what protects against a name that resolves badly.
    """
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    address = _address_of(host)
    allowed = [entry.strip().lower() for entry in allow.split(",") if entry.strip()]
    if allowed:
        if not any(_matches(host, address, entry) for entry in allowed):
            raise _refused("points at a host that NODE_URL_ALLOW does not list")
    elif host in METADATA_HOSTS or (address is not None and any(address in each for each in METADATA_NETWORKS)):
        raise _refused("points at a link-local or metadata address")


def _address_of(host: str) -> Address | None:
    """The address `host` is, in any notation the C library would understand (`2852039166`, `0xa9.254.43518`)."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _matches(host: str, address: Address | None, entry: str) -> bool:
    if entry.startswith("*."):
        return address is None and host.endswith(entry[1:])
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        return host == entry
    return address is not None and address in network


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(reason, code="url_refused", field="url")
