"""The guide's command line, and what it is made of."""
