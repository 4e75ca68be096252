"""The SRTP suites and the sizes of their keys."""

from base64 import b64decode
from types import MappingProxyType

KEY_BYTES: MappingProxyType[str, int] = MappingProxyType(
    {
        "AES_CM_128_HMAC_SHA1_80": 30,
        "AES_CM_128_HMAC_SHA1_32": 30,
        "AEAD_AES_128_GCM": 28,
        "AEAD_AES_256_GCM": 44,
    }
)
"""Master key and salt of each suite (RFC 3711 §8.2, RFC 7714 §12)."""


def is_key(suite: str, key_base64: str) -> bool:
    """True where it is base64 of as many bytes as the suite takes."""
    try:
        return len(b64decode(key_base64, validate=True)) == KEY_BYTES[suite]
    except ValueError:
        return False
