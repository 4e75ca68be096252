"""Settings that are JSON by region, parsed and checked: storages, where recordings may spill to, how nodes scale."""

from functools import cache
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, TypeAdapter, ValidationError, model_validator
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


class RegionScaling(BaseModel):
    """How autoscaling treats one region; an entry of `AUTOSCALE_POLICY`, in camelCase. Capacity in milli-cores."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    min_nodes: int = Field(1, ge=0, le=10_000)
    max_nodes: int = Field(10, ge=0, le=10_000)
    target_utilisation: float = Field(0.97, gt=0, le=1)
    spare_nodes: float = Field(1, ge=0, le=1000)
    node_mcpu: int = Field(1600, ge=1, le=1_000_000)
    lead_time_s: float = Field(60, ge=0, le=3600)
    start_timeout_s: float = Field(300, ge=1, le=86400)
    up_cooldown_s: float = Field(5, ge=0, le=3600)
    down_cooldown_s: float = Field(120, ge=0, le=86400)
    shrink_after_s: float = Field(120, ge=0, le=43200)
    lost_after_s: float = Field(3600, ge=1, le=7 * 86400)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min_nodes > self.max_nodes:
            raise ValueError(f"minNodes {self.min_nodes} is above maxNodes {self.max_nodes}")
        return self


ANY_REGION = "*"
_SCALING = TypeAdapter(dict[RegionName | Literal["*"], dict[str, JsonValue]])


def _policy_of(text: str) -> dict[str, dict[str, JsonValue]]:
    try:
        return _SCALING.validate_json(text or "{}")
    except ValidationError as error:
        raise ValueError(_first_of(error)) from error


def named_regions(text: str) -> frozenset[str]:
    """The regions that a policy names, `*` among them. Raises `ValueError`."""
    return frozenset(_policy_of(text))


@cache
def scaling_of(text: str, region: str) -> RegionScaling:
    """What a policy says of a region, then of all, then the defaults. Raises `ValueError` that names the field."""
    given = _policy_of(text)
    try:
        return RegionScaling.model_validate(given.get(ANY_REGION, {}) | given.get(region, {}))
    except ValidationError as error:
        raise ValueError(_first_of(error, region)) from error


def _first_of(error: ValidationError, *where: str) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in (*where, *first["loc"]))
    return f"{path}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
