"""The operations. A route is parse, command, handler, response; its docstring is the OpenAPI text."""
