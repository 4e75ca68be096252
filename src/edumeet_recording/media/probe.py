"""What a finished file turned out to be."""

from dataclasses import dataclass

from edumeet_recording.domain.codecs import Kind


@dataclass(frozen=True, slots=True)
class ProbedStream:
    """A stream as the file has it; `frames` are coded frames, times in seconds."""

    kind: Kind
    codec: str
    width: int | None
    height: int | None
    channels: int | None
    frames: int
    start_s: float
    end_s: float
    monotonic: bool
    """Decoding times never go back."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A file as it is; `duration_s` to the end of the last frame."""

    duration_s: float
    streams: tuple[ProbedStream, ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What decoding gave. `seconds` were decoded, `errors` frames could not be."""

    frames: int
    errors: int
    seconds: float
