"""Which node makes a file."""

import random
from dataclasses import replace

import pytest

from edumeet_recording.domain.codecs import Codec, Container, CopyPolicy
from edumeet_recording.domain.finalizers import Finalizer, FreeSlots, choose, uses_gpu
from edumeet_recording.domain.request import JobOptions

NODE = Finalizer("a", "eu", 1, has_gpu=False, storages=frozenset({""}))
REGIONS = [("eu", 0.0), ("us", 1.0)]
DEFAULT = frozenset({""})


def test_nearest_then_emptiest() -> None:
    nodes = [
        replace(NODE, id="far", region="us", free_slots=9),
        replace(NODE, id="one slot"),
        replace(NODE, id="two slots", free_slots=2),
    ]
    chosen = choose(nodes, REGIONS, DEFAULT, gpu=False)
    assert chosen is not None
    assert chosen.id == "two slots"


@pytest.mark.parametrize("gpu", [True, False])
def test_a_gpu_is_for_those_who_encode(gpu: bool) -> None:
    nodes = [replace(NODE, id="plain", free_slots=5), replace(NODE, id="gpu", has_gpu=True)]
    chosen = choose(nodes, REGIONS, DEFAULT, gpu=gpu)
    assert chosen is not None
    assert chosen.has_gpu is gpu
    assert choose(nodes[:1], REGIONS, DEFAULT, gpu=True) is nodes[0], "without one the processor does it"


def test_where_it_came_to_nothing_it_is_tried_again_only_where_there_is_no_other() -> None:
    near, far = replace(NODE, id="near", free_slots=9), replace(NODE, id="far", region="us")
    assert choose([near, far], REGIONS, DEFAULT, gpu=False, tried=("near",)) is far
    assert choose([near], REGIONS, DEFAULT, gpu=False, tried=("near",)) is near


@pytest.mark.parametrize("change", [{"free_slots": 0}, {"region": "asia"}, {"storages": frozenset({"us"})}])
def test_a_node_that_is_full_or_not_allowed_or_cannot_read_the_tape_is_none(change: dict[str, object]) -> None:
    assert choose([replace(NODE, **change)], REGIONS, DEFAULT, gpu=False) is None


@pytest.mark.parametrize(
    ("options", "codec", "expected"),
    [
        (JobOptions(Container.MP4), Codec.H264, False),
        (JobOptions(Container.MP4), Codec.VP8, True),
        (JobOptions(Container.MP4), Codec.OPUS, False),
        (JobOptions(Container.MP4, copy=CopyPolicy.NEVER), Codec.H264, True),
        (JobOptions(Container.MP4, include_video=False), Codec.VP8, False),
        (JobOptions(Container.MP4, ffmpeg_args=("-crf", "20")), Codec.VP8, False),
        (JobOptions(Container.WEBM), Codec.H264, False),
    ],
)
def test_only_h264_by_our_own_options_uses_a_gpu(options: JobOptions, codec: Codec, expected: bool) -> None:
    assert uses_gpu(options, [codec]) is expected


@pytest.mark.parametrize("seed", range(20))
def test_slots_are_given_one_by_one_as_they_would_be_chosen(seed: int) -> None:
    chance = random.Random(seed)
    storages = [frozenset({""}), frozenset({"", "us"})]
    nodes = {
        f"n{number}": Finalizer(
            f"n{number}",
            chance.choice(["eu", "us"]),
            chance.randrange(3),
            has_gpu=chance.random() < 0.5,
            storages=chance.choice(storages),
        )
        for number in range(6)
    }
    slots = FreeSlots(nodes.values())
    assert set(slots.regions) == {each.region for each in nodes.values()}
    for _ in range(12):
        regions = tuple(chance.choice([REGIONS, REGIONS[::-1], REGIONS[:1], [("asia", 0.0), *REGIONS]]))
        tape, gpu, tried = chance.choice(storages), chance.random() < 0.5, {chance.choice(list(nodes))}
        expected = choose(nodes.values(), regions, tape, gpu=gpu, tried=tried)
        assert slots.take(regions, tape, gpu=gpu, tried=tried) == expected
        if expected is not None:
            nodes[expected.id] = replace(expected, free_slots=expected.free_slots - 1)
