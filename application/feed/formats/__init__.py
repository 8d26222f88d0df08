"""The output formats of the feed. To add one, write a module beside this one and list its format in FORMATS."""

from application.feed.formats.cloud_events import CLOUD_EVENTS
from application.feed.formats.format import Format

# The first one is the default.
FORMATS = {known.media_type: known for known in (CLOUD_EVENTS,)}

__all__ = ["CLOUD_EVENTS", "FORMATS", "Format"]
