"""The two bases of every message: strict for what people send, tolerant for what our own processes send."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Int32 = Annotated[int, Field(ge=0, lt=2**31)]
"""What a column of type INTEGER keeps; a message that says more is refused at the door, not by the database."""
Int64 = Annotated[int, Field(ge=0, lt=2**63)]
EpochSeconds = Annotated[float, Field(ge=0, lt=4102444800)]
"""A time before the year 2100."""


class Message(BaseModel):
    """Between our own processes: unknown fields are ignored, so that releases can be mixed."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore", allow_inf_nan=False
    )

    def to_json(self) -> str:
        """camelCase JSON."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Body(BaseModel):
    """From people and foreign programs: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid")


class View(BaseModel):
    """What our API answers."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)
