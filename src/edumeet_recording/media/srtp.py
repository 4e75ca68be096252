"""SRTP and SRTCP by libsrtp (RFC 3711, RFC 7714): one object decrypts what a peer sends, another encrypts what we send.

A receiver knows the roll-over counter only of streams it follows from before their first wrap of the sequence number,
or whose place it was told.
"""

import struct
from base64 import b64decode
from collections.abc import Callable
from types import MappingProxyType

from pylibsrtp import Error, Policy, Session

from edumeet_recording.media.errors import MediaError

_SUITES = MappingProxyType(
    {
        "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
        "AES_CM_128_HMAC_SHA1_32": (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
        "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
        "AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
    }
)
"""libsrtp's profile, and bytes of master key and salt."""
_WINDOW = 1024
"""Packets a retransmission may be late: libsrtp's own 128 are 0.1 s of a fast video stream."""
_STRIDE = 0x7000
"""libsrtp takes a step of less than 2^15 for one forward."""
_HEADER = struct.Struct("!BBHII")


def packet_index(sequence: int, near: int) -> int:
    """The 48-bit index of the packet with this 16-bit sequence number that is next to `near` (RFC 3711 §3.3.1)."""
    return near + ((sequence - near + 0x8000) & 0xFFFF) - 0x8000


class SrtpAuthenticationError(MediaError):
    """The packet was not made with this key."""


class SrtpReplayError(MediaError):
    """The packet has come before, or is older than can be told: a duplicate."""


def _policy(suite: str, key_base64: str, ssrc_type: int) -> Policy:
    if suite not in _SUITES:
        raise MediaError(f"unknown SRTP suite {suite!r}")
    profile, length = _SUITES[suite]
    try:
        key = b64decode(key_base64, validate=True)
    except ValueError as error:
        raise MediaError("the SRTP key is not base64") from error
    if len(key) != length:
        raise MediaError(f"{suite} takes {length} bytes of key and salt, not {len(key)}")
    return Policy(key=key, ssrc_type=ssrc_type, srtp_profile=profile)


def _run(process: Callable[[bytes], bytes], packet: bytes | bytearray | memoryview) -> bytes:
    """libsrtp's answer; its errors have nothing but their text to tell them apart."""
    try:
        return process(bytes(packet))
    except Error as error:
        reason = str(error)
        if "authentication" in reason:
            raise SrtpAuthenticationError("the packet was not made with this key") from error
        if "replay" in reason or "too old" in reason:
            raise SrtpReplayError("the packet has come before") from error
        raise MediaError(f"libsrtp refuses the packet: {reason}") from error
    except ValueError as error:
        raise MediaError(str(error)) from error


class SrtpReceiver:
    """Decrypts every SSRC a peer sends with one master key. `key_base64` is key and salt joined (RFC 4568 §6.1).

    Raises `MediaError` for an unknown suite or a key of the wrong length.
    """

    def __init__(self, suite: str, key_base64: str) -> None:
        policy = _policy(suite, key_base64, Policy.SSRC_ANY_INBOUND)
        policy.window_size = _WINDOW
        self._session = Session(policy)
        self._key = suite, key_base64

    def follow(self, ssrc: int, index: int) -> None:
        """Take a stream that was not heard yet up at packet `index`, as if it had been followed from its beginning.

        libsrtp's own setter is not in its Python binding: the stream is shown packets of its own key, a stride apart.
        """
        sender = SrtpSender(*self._key)
        for at in (*range(0, index, _STRIDE), index):
            self.unprotect_rtp(sender.protect_rtp(_HEADER.pack(0x80, 0, at & 0xFFFF, 0, ssrc)))

    def unprotect_rtp(self, packet: bytes | bytearray | memoryview) -> bytes:
        """The RTP packet. Raises `SrtpAuthenticationError`, `SrtpReplayError`, or `MediaError` where it is no SRTP."""
        return _run(self._session.unprotect, packet)

    def unprotect_rtcp(self, packet: bytes | bytearray | memoryview) -> bytes:
        """The RTCP packet; errors as of `unprotect_rtp`."""
        return _run(self._session.unprotect_rtcp, packet)


class SrtpSender:
    """Encrypts every SSRC we send with one master key; key and errors as of `SrtpReceiver`.

    The same packet may be encrypted again: retransmissions answer a NACK with the same sequence number.
    """

    def __init__(self, suite: str, key_base64: str) -> None:
        policy = _policy(suite, key_base64, Policy.SSRC_ANY_OUTBOUND)
        policy.allow_repeat_tx = True
        policy.window_size = _WINDOW
        self._session = Session(policy)

    def protect_rtp(self, packet: bytes | bytearray | memoryview) -> bytes:
        """The SRTP packet. Raises `MediaError` where `packet` is no RTP, or does not fit into 1500 bytes."""
        return _run(self._session.protect, packet)

    def protect_rtcp(self, packet: bytes | bytearray | memoryview) -> bytes:
        """The SRTCP packet; errors as of `protect_rtp`."""
        return _run(self._session.protect_rtcp, packet)
