"""The composition root: the only room that connects the others."""
