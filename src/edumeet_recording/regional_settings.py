"""Settings that are JSON by region, parsed and checked: storages, and where recordings may spill to."""

from functools import cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter
from pydantic.alias_generators import to_camel

REGION = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""The name of a region."""
RegionName = Annotated[str, Field(pattern=REGION)]


class StoragePlace(BaseModel):
    """A storage of another region; None is as for `STORAGE_URL`. `region` is S3's, of the bucket."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, extra="forbid")

    url: Annotated[str, Field(min_length=1)]
    endpoint: str | None = None
    region: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    allow_http: bool | None = None


_STORAGE_PLACES = TypeAdapter(dict[RegionName, StoragePlace | str])
_REGION_SPILL = TypeAdapter(dict[RegionName, dict[RegionName, Annotated[float, Field(ge=0, allow_inf_nan=False)]]])


@cache
def storage_places_of(text: str) -> dict[str, StoragePlace]:
    """The storages by region. Raises `ValueError`."""
    places = _STORAGE_PLACES.validate_json(text or "{}")
    return {region: StoragePlace(url=place) if isinstance(place, str) else place for region, place in places.items()}


@cache
def spill_of(text: str) -> dict[str, dict[str, float]]:
    """By region, what it costs to go to another one. Raises `ValueError`."""
    return _REGION_SPILL.validate_json(text or "{}")
