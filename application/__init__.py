"""The use cases of the service and their ports. Depends on the domain only."""
