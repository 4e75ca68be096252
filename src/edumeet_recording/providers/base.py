"""How nodes are had, whoever runs them.

A provider keeps what it was asked for: a node that crashes is started again, under its id and with its state, until
it is stopped. Whether a node that runs also serves is not the provider's to say; it registers with the orchestrator.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from edumeet_recording.domain.errors import InvalidRequest, OrchestratorError

_NODE_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class ProviderUnreachable(OrchestratorError):
    """What runs the nodes did not answer; it may later."""

    code = "provider_unreachable"


class ProviderRefused(OrchestratorError):
    """What runs the nodes answered that it will not: a quota, a missing image, a missing permission."""

    code = "provider_refused"


class InstanceState(StrEnum):
    """`failed`: it ended, or cannot be started, and `detail` says why; it may come back by itself."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Instance:
    """A node that was asked for and has not been given back."""

    node_id: str
    region: str
    state: InstanceState
    detail: str = ""


class Provider(Protocol):
    """Runs nodes. Every call may raise `ProviderUnreachable` or `ProviderRefused`, and may be repeated."""

    name: str

    async def start(self, region: str, node_id: str, labels: Mapping[str, str]) -> None:
        """Have a node; one that is there is left as it is. `labels` are for whoever looks at the provider's own lists.

        Raises `InvalidRequest` where `node_id` is no DNS label (RFC 1123 §2.1).
        """
        ...

    async def stop(self, node_id: str) -> None:
        """Have a node no more; returns once that is under way. It is told by SIGTERM, and killed after its grace.

        The caller has drained it: what it holds that is in no storage yet is lost where the provider keeps no disk.
        """
        ...

    async def instances(self) -> Sequence[Instance]:
        """All nodes of this provider, also those that an earlier life of the orchestrator asked for."""
        ...

    async def aclose(self) -> None:
        """Give back what the provider itself holds; nodes that run elsewhere go on."""
        ...


def check_node_id(node_id: str) -> None:
    """Raises `InvalidRequest` where a node of that id could not be had everywhere."""
    if _NODE_ID.fullmatch(node_id) is None:
        raise InvalidRequest(f"{node_id!r} is no DNS label of at most 63 characters", field="nodeId")
