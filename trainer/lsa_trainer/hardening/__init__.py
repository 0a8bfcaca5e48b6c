"""``harden``: from a deployed file and samples to a more robust file of the same graph."""

from lsa_trainer.hardening.run import harden

__all__ = ["harden"]
