"""The UDP ports of the nodes that tests start: a range for each xdist worker.

What still comes to a port that one worker's node gave back must not meet a recording of another's; nor what is sent to
sockets that are gone, for Linux gives those ports from 32768 on.
"""

import os

_EACH = 2000

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
FIRST = 10_000 + _EACH * (_worker % 5)
LAST = FIRST + _EACH - 1
SETTINGS = {"RTP_PORT_MIN": str(FIRST), "RTP_PORT_MAX": str(LAST)}
