"""The guide's command line."""
