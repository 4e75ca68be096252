"""Runs nothing: somebody else, such as KEDA or a person, reads the recommendations and acts."""

from collections.abc import Mapping, Sequence

import structlog

from edumeet_recording.providers.base import Instance, check_node_id

log = structlog.get_logger()


class AdvisoryProvider:
    """A `Provider` that only says what it would do."""

    name = "advisory"

    async def start(self, region: str, node_id: str, labels: Mapping[str, str]) -> None:
        """Say that a node is wanted."""
        check_node_id(node_id)
        log.info("node_recommended", region=region, node_id=node_id, labels=dict(labels))

    async def stop(self, node_id: str) -> None:
        """Say that a node can go."""
        log.info("node_not_needed", node_id=node_id)

    async def instances(self) -> Sequence[Instance]:
        """None: nodes that were started by others are known by their registration."""
        return ()

    async def aclose(self) -> None:
        """There is nothing to give back."""
