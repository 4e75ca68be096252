"""Which node makes a file: one that may, that reaches the tape, nearby, with a GPU only where that is of use; pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from edumeet_recording.domain.codecs import COPYABLE, Codec, Container, CopyPolicy, Kind, kind_of
from edumeet_recording.domain.request import JobOptions


@dataclass(frozen=True, slots=True)
class Finalizer:
    """A node that may be given finalizations. `storages`: names of those it reaches."""

    id: str
    region: str
    free_slots: int
    has_gpu: bool
    storages: frozenset[str]


def uses_gpu(options: JobOptions, codecs: Iterable[Codec]) -> bool:
    """True where the file needs video encoded to H.264 by our own options, which is what a GPU does here."""
    if not options.include_video or options.container is Container.WEBM or options.ffmpeg_args:
        return False
    video = [codec for codec in codecs if kind_of(codec) is Kind.VIDEO]
    copied = options.copy is not CopyPolicy.NEVER and COPYABLE[options.container].issuperset(video)
    return bool(video) and not copied


def choose(
    finalizers: Iterable[Finalizer],
    regions: Sequence[tuple[str, float]],
    storages: frozenset[str],
    *,
    gpu: bool,
    tried: Collection[str] = (),
) -> Finalizer | None:
    """The best of `finalizers` for a job; None where none has a slot, is allowed, and reaches all of `storages`.

    `regions`: those it may be in, best first (`domain/regions.py`). `tried`: nodes where it came to nothing, which get
    it again only where there is no other.
    """
    rank = {region: place for place, (region, _) in enumerate(regions)}
    able = (each for each in finalizers if each.free_slots > 0 and each.region in rank and storages <= each.storages)
    return min(
        able,
        key=lambda each: (each.id in tried, rank[each.region], each.has_gpu != gpu, -each.free_slots, each.id),
        default=None,
    )


class FreeSlots:
    """The free slots of some finalizers, as they are given to one job after the other."""

    def __init__(self, finalizers: Iterable[Finalizer]) -> None:
        self._by_region: dict[str, dict[str, Finalizer]] = {}
        for each in finalizers:
            self._by_region.setdefault(each.region, {})[each.id] = each
        self._hopeless: set[tuple[tuple[tuple[str, float], ...], frozenset[str]]] = set()

    @property
    def regions(self) -> Collection[str]:
        """Where there are any."""
        return self._by_region.keys()

    def take(
        self,
        regions: tuple[tuple[str, float], ...],
        storages: frozenset[str],
        *,
        gpu: bool,
        tried: Collection[str] = (),
    ) -> Finalizer | None:
        """What `choose` says, with one slot less from now on; it looks further than the nearest region only in need."""
        if (regions, storages) in self._hopeless:
            return None
        for region in regions:
            near = self._by_region.get(region[0], {}).values()
            found = choose(near, (region,), storages, gpu=gpu, tried=tried)
            if found is not None and found.id not in tried:
                break
        else:
            everywhere = chain.from_iterable(each.values() for each in self._by_region.values())
            found = choose(everywhere, regions, storages, gpu=gpu, tried=tried)
        if found is None:
            self._hopeless.add((regions, storages))
            return None
        self._by_region[found.region][found.id] = replace(found, free_slots=found.free_slots - 1)
        return found
