"""Decrypts the SRTP and SRTCP of one stream, and counts what cannot be decrypted."""

from collections import Counter
from collections.abc import Callable

from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.srtp import SrtpAuthenticationError, SrtpReceiver, SrtpReplayError

Unprotect = Callable[[memoryview], bytes]


class Opener:
    """`receiver` is shared by the streams that have its key; None where what was announced is no key.

    `foreign` gets what is refused, by cause: `srtp_auth` was encrypted with another key, `srtp_replay` has come before
    or is too old to tell, `srtp` is no SRTP.
    """

    __slots__ = ("_foreign", "_receiver", "failures")

    def __init__(self, receiver: SrtpReceiver | None, foreign: Counter[str]) -> None:
        self._receiver = receiver
        self._foreign = foreign
        self.failures = 0
        """RTP packets of another key in a row. SRTCP does not count: it opens after a roll-over that was missed."""

    def follow(self, ssrc: int, index: int) -> None:
        """Go on with a stream where an earlier capture process was with it."""
        if self._receiver is not None:
            self._receiver.follow(ssrc, index)

    def rtp(self, packet: memoryview) -> memoryview | None:
        """The RTP packet, or None."""
        refused = self._foreign["srtp_auth"]
        opened = self._open(self._receiver and self._receiver.unprotect_rtp, packet)
        if opened is not None:
            self.failures = 0
        elif self._foreign["srtp_auth"] > refused:
            self.failures += 1
        return opened

    def rtcp(self, packet: memoryview) -> memoryview | None:
        """The RTCP packet, or None."""
        return self._open(self._receiver and self._receiver.unprotect_rtcp, packet)

    def _open(self, unprotect: Unprotect | None, packet: memoryview) -> memoryview | None:
        if unprotect is None:
            self._foreign["srtp_auth"] += 1
            return None
        try:
            return memoryview(unprotect(packet))
        except SrtpAuthenticationError:
            self._foreign["srtp_auth"] += 1
        except SrtpReplayError:
            self._foreign["srtp_replay"] += 1
        except MediaError:
            self._foreign["srtp"] += 1
        return None
