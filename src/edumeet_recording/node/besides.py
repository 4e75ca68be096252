"""Checks the finished files, and makes what is stored beside them: pictures, waveform, manifest of parts."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from av.error import FFmpegError

from edumeet_recording.domain.codecs import FileFormat
from edumeet_recording.media import report
from edumeet_recording.media.report import AssetFacts, AssetKind, FileFacts
from edumeet_recording.node.parts import Part
from edumeet_recording.node.pictures import Picture, Stretch, Waveform, poster, thumbnails
from edumeet_recording.node.probing import decode, probe
from edumeet_recording.wire.node_link import FinalizeTask


@dataclass(slots=True)
class Besides:
    """What lies beside the file: the facts of all of it, by key the contents of what is small, and what failed."""

    prefix: str
    facts: list[AssetFacts] = field(default_factory=list[AssetFacts])
    contents: dict[str, bytes] = field(default_factory=dict[str, bytes])
    notes: list[str] = field(default_factory=list[str])

    def picture(self, kind: AssetKind, name: str, made: Picture) -> None:
        """Add a picture."""
        facts = self._keep(kind, name, made.data)
        self.facts.append(replace(facts, at_s=made.at_s, width=made.width, height=made.height))

    def document(self, kind: AssetKind, name: str, value: object) -> None:
        """Add a JSON document."""
        self.facts.append(self._keep(kind, name, json.dumps(value).encode()))

    def _keep(self, kind: AssetKind, name: str, data: bytes) -> AssetFacts:
        key = f"{self.prefix}/{name}"
        self.contents[key] = data
        return AssetFacts(kind, key, len(data), hashlib.sha256(data).hexdigest())


def checked(
    key: str, path: Path, part: Part, *, made: str, encoder: str | None, filled: int, wave: Waveform | None
) -> FileFacts:
    """The facts of a finished file, by reading it again as a player would; `wave` hears its sound."""
    if wave is not None:
        wave.begin(part.start_us / 1e6)
    probed = probe(path, wave and wave.hear)
    return FileFacts(
        key=key,
        bytes=path.stat().st_size,
        sha256=_sha256(path),
        format=FileFormat(path.suffix[1:]),
        made=made,
        encoder=encoder,
        start_s=part.start_us / 1e6,
        width=part.width,
        height=part.height,
        probe=probed,
        decoded=decode(path, probed.duration_s),
        filled=filled,
    )


def make_assets(
    task: FinalizeTask, files: Sequence[FileFacts], paths: Sequence[Path], wave: Waveform | None
) -> Besides:
    """All that is stored beside the file, pictures where `wave` was heard.

    What cannot be made is a note: it is no reason to have no recording.
    """
    besides = Besides(task.output_prefix)
    if len(files) > 1:
        besides.facts += (AssetFacts(AssetKind.PART, one.key, one.bytes, one.sha256) for one in files[1:])
        manifest = {"version": 1, "jobId": task.job_id, "parts": report.parts(files)}
        besides.document(AssetKind.MANIFEST, "manifest.json", manifest)
    if wave is None:
        return besides
    stretches = [Stretch(path, one.start_s, one.probe.duration_s) for path, one in zip(paths, files, strict=True)]
    try:
        _pictures(besides, stretches)
    except FFmpegError as error:
        besides.notes.append(f"poster and thumbnails could not be made: {error}")
    if (heard := wave.document()) is not None:
        besides.document(AssetKind.WAVEFORM, "waveform.json", heard)
    return besides


def _pictures(besides: Besides, stretches: Sequence[Stretch]) -> None:
    if (first := poster(stretches)) is not None:
        besides.picture(AssetKind.POSTER, "poster.jpg", first)
    for number, picture in enumerate(thumbnails(stretches), 1):
        besides.picture(AssetKind.THUMBNAIL, f"thumbnail-{number:03d}.jpg", picture)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
