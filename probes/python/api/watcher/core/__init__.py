"""Events as Python objects: enriched, written, followed. Usable without a session."""
