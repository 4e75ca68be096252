"""The two bases of every message: strict for what people send, tolerant for what our own processes send."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Message(BaseModel):
    """Between our own processes: unknown fields are ignored, so that releases can be mixed."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_json(self) -> str:
        """camelCase JSON."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Body(BaseModel):
    """From people and foreign programs: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid")


class View(BaseModel):
    """What our API answers."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)
