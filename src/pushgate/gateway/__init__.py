"""A gateway as an object, and prometheus_client's push functions."""
