"""What training minimises (AT-LR, Khalooei et al. 2023), and the attacks that it trains against."""

from lsa_trainer.objectives.attacking import Algorithm, TrainingAttack
from lsa_trainer.objectives.bases import BASES, Base, BaseName
from lsa_trainer.objectives.criteria import (
    ClassLoss,
    Criterion,
    OutputLoss,
    logit_temperature,
    variance_scale,
)
from lsa_trainer.objectives.gammas import balance, parse_gamma, require_gamma
from lsa_trainer.objectives.oracle import TorchOracle
from lsa_trainer.objectives.regulariser import LayerRegulariser, comparison_measure
from lsa_trainer.objectives.step import Losses, StepSpec, losses

__all__ = [
    "BASES",
    "Algorithm",
    "Base",
    "BaseName",
    "ClassLoss",
    "Criterion",
    "LayerRegulariser",
    "Losses",
    "OutputLoss",
    "StepSpec",
    "TorchOracle",
    "TrainingAttack",
    "balance",
    "comparison_measure",
    "logit_temperature",
    "losses",
    "parse_gamma",
    "require_gamma",
    "variance_scale",
]
