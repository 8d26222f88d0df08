"""Request bodies that several rooms share."""

from pydantic import BaseModel, ConfigDict


class StrictBody(BaseModel):
    """A request body that has the fields of its schema and no others."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
