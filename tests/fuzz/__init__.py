"""Fuzzing of the command line: damaged models, data, sidecars, reports and configurations.

``python -m tests.fuzz`` runs it; ``docs/fuzzing.md`` tells how and what was found.
"""
