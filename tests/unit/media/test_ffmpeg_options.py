"""Callers may tune a transcode, and nothing else: whatever reads, writes or connects is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edumeet_recording.domain.codecs import Container
from edumeet_recording.media.ffmpeg_options import ALLOWED, MAX_ARGS, RefusedOption, check_encoder, check_options


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["-crf", "20", "-preset", "fast"],
        ["-b:v", "1500k", "-maxrate", "2M", "-bufsize", "4M", "-g", "50"],
        ["-metadata", "title=Lecture 1: Ünits", "-metadata", "artist=A"],
        ["-level", "4.1", "-profile:v", "high", "-ar", "48000", "-ac", "2"],
    ],
)
def test_tuning_is_allowed(args: list[str]) -> None:
    check_options(args)


@pytest.mark.parametrize(
    ("args", "index"),
    [
        (["-i", "/etc/passwd"], 0),
        (["-f", "tee"], 0),
        (["-vf", "movie=/etc/passwd"], 0),
        (["-filter_complex", "amovie=x"], 0),
        (["-progress", "http://attacker"], 0),
        (["-passlogfile", "x.log"], 0),
        (["-dump_attachment:t", "x"], 0),
        (["-attach", "x"], 0),
        (["-report", "1"], 0),
        (["-protocol_whitelist", "file"], 0),
        (["out.mp4"], 0),
        (["-crf"], 0),
        (["-crf", "20", "-crf", "21"], 2),
        (["-crf", "-1"], 1),
        (["-crf", "٢"], 1),
        (["-crf", "20", "-preset", "/x"], 3),
        (["-b:v", "1e9"], 1),
        (["-b:v", "0"], 1),
        (["-metadata", "title=a\nb"], 1),
        (["-metadata", "encoder=x"], 1),
        (["-metadata", "title=" + "a" * 200], 1),
        (["-CRF", "20"], 0),
        (["-crf ", "20"], 0),
        (["-metadata", "title=a"] * (MAX_ARGS // 2 + 1), MAX_ARGS),
    ],
)
def test_everything_else_is_refused_and_the_argument_named(args: list[str], index: int) -> None:
    with pytest.raises(RefusedOption) as refused:
        check_options(args)
    assert refused.value.index == index


@given(st.lists(st.one_of(st.sampled_from([*ALLOWED]), st.text(max_size=12)), max_size=8))
def test_what_passes_is_pairs_of_allowed_options(args: list[str]) -> None:
    with suppress(RefusedOption):
        check_options(args)
        assert all(option in ALLOWED for option in args[::2])
        assert not any(value.startswith("-") for value in args[1::2])


@pytest.mark.parametrize(
    ("args", "container", "index"),
    [
        (["-crf", "20", "-preset", "fast"], Container.WEBM, 2),
        (["-ar", "44100"], Container.MKV, 1),
        (["-level", "4"], Container.WEBM, 0),
    ],
)
def test_what_the_containers_encoder_lacks_is_refused(args: list[str], container: Container, index: int) -> None:
    with pytest.raises(RefusedOption) as refused:
        check_encoder(args, container)
    assert refused.value.index == index
    check_encoder(args, Container.MP4)
