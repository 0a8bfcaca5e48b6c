"""What training minimises (AT-LR, Khalooei et al. 2023), and the attacks that it trains against."""

from lsa_trainer.objectives.attacking import LAYER_AIMS, Aim, Algorithm, TrainingAttack
from lsa_trainer.objectives.bases import BASES, Base, BaseName
from lsa_trainer.objectives.criteria import (
    ClassLoss,
    Criterion,
    OutputLoss,
    logit_temperature,
    variance_scale,
)
from lsa_trainer.objectives.gammas import SHARE, auto_share, balance, parse_gamma, require_gamma
from lsa_trainer.objectives.inner import InnerOracle
from lsa_trainer.objectives.oracle import TorchOracle
from lsa_trainer.objectives.regulariser import LayerRegulariser, comparison_measure
from lsa_trainer.objectives.step import Losses, StepSpec, losses

__all__ = [
    "BASES",
    "LAYER_AIMS",
    "SHARE",
    "Aim",
    "Algorithm",
    "Base",
    "BaseName",
    "ClassLoss",
    "Criterion",
    "InnerOracle",
    "LayerRegulariser",
    "Losses",
    "OutputLoss",
    "StepSpec",
    "TorchOracle",
    "TrainingAttack",
    "auto_share",
    "balance",
    "comparison_measure",
    "logit_temperature",
    "losses",
    "parse_gamma",
    "require_gamma",
    "variance_scale",
]
