"""Perturbations: noises, attacks, and pairs made elsewhere.

Arrays in, arrays out, in units of the declared range. An attack is a function of an oracle, written over
the array API, and a value that holds its parameters and keeps the contract of ``Perturbation``.
"""

from lsa_onnx.attacks.apgd import Apgd, apgd
from lsa_onnx.attacks.attack import Attack
from lsa_onnx.attacks.auto import Auto, auto
from lsa_onnx.attacks.balls import BALLS, L1, L2, Ball, Linf, Norm
from lsa_onnx.attacks.base import Batch, Perturbation
from lsa_onnx.attacks.epsilon import check_eps, parse_eps
from lsa_onnx.attacks.fast import Fast, fast
from lsa_onnx.attacks.fgsm import Fgsm, fgsm
from lsa_onnx.attacks.noise import NOISES, Noise
from lsa_onnx.attacks.oracle import Answer, Found, Goal, Oracle
from lsa_onnx.attacks.pairs import Pairs
from lsa_onnx.attacks.pgd import Pgd, pgd
from lsa_onnx.attacks.randomness import Randomness, SampleRandomness
from lsa_onnx.attacks.registry import ATTACKS, AttackKind, AttackSettings, parse_perturbations
from lsa_onnx.attacks.square import Square, square
from lsa_onnx.attacks.trades import Trades, trades

__all__ = [
    "ATTACKS",
    "BALLS",
    "L1",
    "L2",
    "NOISES",
    "Answer",
    "Apgd",
    "Attack",
    "AttackKind",
    "AttackSettings",
    "Auto",
    "Ball",
    "Batch",
    "Fast",
    "Fgsm",
    "Found",
    "Goal",
    "Linf",
    "Noise",
    "Norm",
    "Oracle",
    "Pairs",
    "Perturbation",
    "Pgd",
    "Randomness",
    "SampleRandomness",
    "Square",
    "Trades",
    "apgd",
    "auto",
    "check_eps",
    "fast",
    "fgsm",
    "parse_eps",
    "parse_perturbations",
    "pgd",
    "square",
    "trades",
]
