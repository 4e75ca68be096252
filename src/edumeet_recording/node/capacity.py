"""Adds to a node's load what it can take, as it learns it, and refuses what would be too much."""

from collections.abc import Callable, Iterable

import structlog

from edumeet_recording.domain.capacity import Strain, corrected_mcpu, learned, strained, usable_bytes_per_s
from edumeet_recording.node.calibration import Calibration
from edumeet_recording.node.own_cost import OwnCostMeter
from edumeet_recording.wire.node_link import NodeLoad

KEPT_STEP = 0.05
"""What captures cost is kept anew once it has changed by this share."""

_log = structlog.get_logger(__name__)


class CapacityMeter:
    """Of a machine with `cores`; begins with what `calibration` says, and has what it learns kept for its next start.

    Clocks are monotonic, in seconds.
    """

    def __init__(self, cores: float, calibration: Calibration, keep: Callable[[Calibration], None], now: float) -> None:
        self._cores = cores
        self._kept = calibration
        self._keep = keep
        self._factor = calibration.cost_factor
        self._bytes_per_s = usable_bytes_per_s(calibration.disk_bytes_per_s, calibration.network_bytes_per_s)
        self._own = OwnCostMeter(now)
        self._strain = Strain()
        self._at = now

    def measure(self, load: NodeLoad, pids: Iterable[int], promised_mcpu: int, now: float) -> NodeLoad:
        """The load with what the node's processes `pids` took for captures that were priced at `promised_mcpu`."""
        own = self._own.measure(pids, now)
        seconds, self._at = now - self._at, now
        self._factor = learned(
            self._factor, used_mcpu=own.mcpu, promised_mcpu=promised_mcpu, cores=self._cores, seconds=seconds
        )
        self._keep_news()
        wanted = (own.mcpu + own.waited_mcpu) / (10 * self._cores)
        self._strain = strained(self._strain, wanted, now)
        hot = f"capturing wants {wanted:.0f} % of its cores" if self._strain.refuses else None
        return load.model_copy(
            update={
                "disk_written_bytes_per_s": round(own.written_bytes_per_s),
                "capacity_mcpu": corrected_mcpu(self._cores, self._factor),
                "capacity_bytes_per_s": self._bytes_per_s,
                "refusal": load.refusal or hot,
                "sheds": self._strain.sheds,
            }
        )

    def _keep_news(self) -> None:
        if abs(self._factor - self._kept.cost_factor) < KEPT_STEP * self._kept.cost_factor:
            return
        self._kept = self._kept.model_copy(update={"cost_factor": round(self._factor, 3)})
        try:
            self._keep(self._kept)
        except OSError as error:
            _log.warning("what captures cost here is not kept: the next start learns it anew", error=str(error))
