"""HTTP: routes, schemas and errors."""
