"""The node's own GET /health and GET /metrics (Prometheus)."""

from collections.abc import Callable, Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edumeet_recording.domain.capture import StreamState
from edumeet_recording.wire.node_link import Heartbeat, StreamStats

_PREFIX = "edumeet_recording_node_"


class _Readings(Collector):
    """Draws the metrics from the latest heartbeat, so that they say what the orchestrator is told."""

    def __init__(self, beat: Callable[[], Heartbeat]) -> None:
        self._beat = beat

    def collect(self) -> Iterable[Metric]:
        beat = self._beat()
        load = beat.load
        for name, text, value in (
            ("captures", "Captures that run or wait to be shipped.", load.captures),
            ("finalizing", "Finalizations that run.", load.finalizing),
            ("accepts_captures", "1 where new captures are taken.", load.accepts_captures),
            ("warning", "1 where the spool's disk fills up, or the storage takes no tape.", load.warning is not None),
            ("cpu_percent", "Load of the machine's processors.", load.cpu_percent),
            ("memory_bytes", "Memory in use on the machine.", load.memory_bytes),
            ("disk_free_bytes", "Free space on the spool's disk.", load.disk_free_bytes),
            ("disk_used_percent", "Use of the spool's disk.", load.disk_used_percent),
            ("spool_bytes", "Tape that waits to be shipped.", load.spool_bytes),
            ("network_in_bytes_per_second", "Bytes the machine receives.", load.network_in_bytes_per_s),
            ("unshipped_chunks", "Chunks that wait.", sum(each.unshipped_chunks for each in beat.captures)),
        ):
            yield GaugeMetricFamily(_PREFIX + name, text, float(value))
        yield from _of_streams([stream for capture in beat.captures for stream in capture.streams])
        foreign = CounterMetricFamily(
            _PREFIX + "foreign", "Refused datagrams of the captures held now.", labels=["cause"]
        )
        for cause in sorted({cause for capture in beat.captures for cause in capture.foreign}):
            foreign.add_metric([cause], sum(capture.foreign.get(cause, 0) for capture in beat.captures))
        yield foreign


def _of_streams(streams: list[StreamStats]) -> Iterable[Metric]:
    """All of the node's streams together: a label for each would make a series a recording."""
    for name, text, value in (
        ("packets", "RTP packets of the captures held now.", sum(stream.packets for stream in streams)),
        ("received_bytes", "RTP bytes of the captures held now.", sum(stream.bytes for stream in streams)),
        ("lost_packets", "RTP packets of the captures held now that never came.", sum(s.lost for s in streams)),
        (
            "recovered_packets",
            "RTP packets of the captures held now that came because they were asked for again.",
            sum(stream.recovered for stream in streams),
        ),
        ("bitrate_bits_per_second", "RTP that is received.", sum(stream.bitrate_bps for stream in streams)),
        ("worst_jitter_seconds", "Of any stream.", max((stream.jitter_ms for stream in streams), default=0) / 1000),
    ):
        yield GaugeMetricFamily(_PREFIX + name, text, float(value))
    states = GaugeMetricFamily(_PREFIX + "streams", "Streams of the captures held now, by state.", labels=["state"])
    for state in StreamState:
        states.add_metric([state], sum(stream.state is state for stream in streams))
    yield states


def status_app(node_id: str, beat: Callable[[], Heartbeat], link_up: Callable[[], bool]) -> Starlette:
    """Answers 200 as long as the node runs: also without a link, for its recordings go on."""
    registry = CollectorRegistry()
    registry.register(_Readings(beat))

    async def health(_: Request) -> Response:
        load = beat().load
        return JSONResponse(
            {
                "status": "ok",
                "nodeId": node_id,
                "linked": link_up(),
                "acceptsCaptures": load.accepts_captures,
                "refusal": load.refusal,
                "warning": load.warning,
            }
        )

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/health", health), Route("/metrics", metrics)])
