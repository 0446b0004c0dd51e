"""What every shape is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")
