"""One command per file; each module has a ``command``."""
