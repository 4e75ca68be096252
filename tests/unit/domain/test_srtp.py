import base64

import pytest

from edumeet_recording.domain.srtp import KEY_BYTES, is_key
from edumeet_recording.media.errors import MediaError
from edumeet_recording.media.srtp import SrtpReceiver


@pytest.mark.parametrize(("suite", "length"), KEY_BYTES.items())
def test_what_is_called_a_key_is_one_for_libsrtp(suite: str, length: int) -> None:
    for size in (length - 1, length, length + 1):
        key = base64.b64encode(bytes(size)).decode()
        assert is_key(suite, key) == (size == length)
        if size == length:
            SrtpReceiver(suite, key)
        else:
            with pytest.raises(MediaError):
                SrtpReceiver(suite, key)


@pytest.mark.parametrize("text", ["", "é", "not base64!", "A"])
def test_what_is_no_base64_is_no_key(text: str) -> None:
    assert not is_key("AEAD_AES_128_GCM", text)
