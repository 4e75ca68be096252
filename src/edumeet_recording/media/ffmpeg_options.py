"""Which FFmpeg options a caller may add to a transcode: an allow-list, each with the values it takes; pure.

Whatever reads, writes, connects, maps, filters or changes the format is absent and therefore refused: filters can open
files, `-f tee` and a bare word name outputs, `-i` and protocols name inputs.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from edumeet_recording.domain.codecs import Container
from edumeet_recording.media.errors import MediaError

MAX_ARGS = 40
MAX_VALUE_CHARS = 200

_BIT_RATE = re.compile(r"[1-9][0-9]{0,8}[kM]?")
_METADATA = re.compile(r"(title|artist|comment|description|copyright|date|genre|language)=[^\x00-\x1f\x7f]*")


class RefusedOption(MediaError):
    """An option is not allowed, or not with this value. `index`: which of the arguments."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


def _integer(low: int, high: int) -> Callable[[str], bool]:
    return lambda value: value.isascii() and value.isdigit() and len(value) < 10 and low <= int(value) <= high


def _one_of(*words: str) -> Callable[[str], bool]:
    return lambda value: value in words


def _matching(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda value: pattern.fullmatch(value) is not None


_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")

ALLOWED: Mapping[str, tuple[Callable[[str], bool], str]] = MappingProxyType(
    {
        "-crf": (_integer(0, 63), "0 to 63"),
        "-preset": (_one_of(*_PRESETS), ", ".join(_PRESETS)),
        "-tune": (_one_of("film", "animation", "stillimage", "zerolatency", "fastdecode"), "an x264 tuning"),
        "-profile:v": (_one_of("baseline", "main", "high"), "baseline, main or high"),
        "-level": (_matching(re.compile(r"[1-6](\.[0-3])?")), "an H.264 level such as 4.1"),
        "-b:v": (_matching(_BIT_RATE), "a bit rate such as 1500k"),
        "-maxrate": (_matching(_BIT_RATE), "a bit rate such as 1500k"),
        "-bufsize": (_matching(_BIT_RATE), "a size such as 3M"),
        "-g": (_integer(1, 1000), "1 to 1000 frames"),
        "-pix_fmt": (_one_of("yuv420p", "yuv422p", "yuv444p"), "yuv420p, yuv422p or yuv444p"),
        "-b:a": (_matching(_BIT_RATE), "a bit rate such as 96k"),
        "-ar": (_one_of("8000", "12000", "16000", "24000", "44100", "48000"), "a sampling rate in Hz"),
        "-ac": (_integer(1, 2), "1 or 2 channels"),
        "-threads": (_integer(1, 16), "1 to 16"),
        "-metadata": (
            _matching(_METADATA),
            "title=…, artist=…, comment=…, description=…, copyright=…, date=… or genre=…",
        ),
    }
)
"""Option → (its check, what it takes in words)."""

AUDIO_OPTIONS = frozenset({"-b:a", "-ar", "-ac"})
"""Options that ask for audio to be encoded."""
_OF_THE_FILE = frozenset({"-metadata", "-threads"})
_X264_ONLY = frozenset({"-preset", "-tune", "-profile:v", "-level"})


def check_options(args: Sequence[str]) -> None:
    """Raises `RefusedOption` unless `args` are pairs of an allowed option and a value it takes, none of them twice."""
    if len(args) > MAX_ARGS:
        raise RefusedOption(MAX_ARGS, f"at most {MAX_ARGS} arguments")
    seen: set[str] = set()
    for index in range(0, len(args), 2):
        option = args[index]
        if option not in ALLOWED:
            raise RefusedOption(index, f"option {option[:40]!r} is not allowed; allowed are {', '.join(ALLOWED)}")
        if option in seen and option != "-metadata":
            raise RefusedOption(index, f"option {option} is given twice")
        seen.add(option)
        if index + 1 == len(args):
            raise RefusedOption(index, f"option {option} lacks its value")
        fits, words = ALLOWED[option]
        value = args[index + 1]
        if len(value) > MAX_VALUE_CHARS or not fits(value):
            raise RefusedOption(index + 1, f"{option} takes {words}")


def check_encoder(args: Sequence[str], container: Container) -> None:
    """Raises `RefusedOption` where the encoders of a container do not know one of `args`, which are checked already."""
    for index in range(0, len(args), 2):
        option, value = args[index : index + 2]
        if container is Container.WEBM and option in _X264_ONLY:
            raise RefusedOption(index, f"webm is encoded as VP9, which has no {option}")
        if container is not Container.MP4 and (option, value) == ("-ar", "44100"):
            raise RefusedOption(index + 1, f"{container} is encoded as Opus, which has no 44100 Hz")


def options_of_kinds(args: Sequence[str], *, audio: bool, video: bool) -> tuple[str, ...]:
    """Those of `args` that mean something to a file with these kinds of streams."""
    kept: list[str] = []
    for index in range(0, len(args), 2):
        option = args[index]
        wanted = audio if option in AUDIO_OPTIONS else video or option in _OF_THE_FILE
        kept += args[index : index + 2] if wanted else ()
    return tuple(kept)
