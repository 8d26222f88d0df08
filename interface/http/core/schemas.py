"""Request bodies that several rooms share."""

from pydantic import BaseModel, ConfigDict

from application.shared.fields import Comment


class StrictBody(BaseModel):
    """A request body that has the fields of its schema and no others."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class CommentBody(StrictBody):
    """The reason for a change."""

    modificationComment: Comment | None = None
