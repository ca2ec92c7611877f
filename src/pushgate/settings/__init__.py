"""The one reader of options, environment and configuration file."""
