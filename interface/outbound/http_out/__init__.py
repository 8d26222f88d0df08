"""Http out."""
