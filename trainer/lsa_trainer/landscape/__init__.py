"""Loss landscapes over weights: the training objective in a plane of filter-normalised directions."""

from lsa_trainer.landscape.run import weight_landscape

__all__ = ["weight_landscape"]
