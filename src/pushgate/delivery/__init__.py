"""The one way from a run's outcome to a gateway."""
