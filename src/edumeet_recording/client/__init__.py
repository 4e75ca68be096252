"""A typed client of this service's API: what the command line, the benches and the tests use, and any Python may."""

from edumeet_recording.client.client import RecordingClient
from edumeet_recording.client.download import Asset
from edumeet_recording.client.errors import ApiError

__all__ = ["ApiError", "Asset", "RecordingClient"]
