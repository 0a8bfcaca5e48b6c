"""What each warning of a scan means and asks for, in plain words: docs/warnings.md in short."""

from __future__ import annotations

# Code: what it means for the figures, and what to do.
MEANINGS = {
    "synthetic-data": (
        "The model was not made for random inputs: layers that matter on real data may be asleep.",
        "Scan again with --data.",
    ),
    "few-samples": (
        "Means, intervals and the list of layers depend on chance.",
        "Use more samples, and look at the stability of each layer.",
    ),
    "accuracy-near-chance": (
        "The model does not see what it was trained on, so every score may be a score of nonsense.",
        "Check --range, --mean, --std, --layout and the labels.",
    ),
    "noise-only": (
        "Noise ranks layers, but an adversary finds far worse inputs of the same size.",
        "Add --attack pgd; until then, read the scores as a ranking only.",
    ),
    "predicted-labels": (
        "Accuracy is agreement with the model's own predictions, 100 % on clean inputs by construction.",
        "Give --labels, or call the result stability and not accuracy.",
    ),
    "large-eps": (
        "A person sees such a change and may no longer agree with the label.",
        "Use a smaller eps (8/255 is usual for photographs), and check --range.",
    ),
    "vanishing-gradient": (
        "The attacks here are not fooled, but tools that follow the plain cross-entropy are.",
        "Nothing; do not compare these figures with those of such tools.",
    ),
    "zero-gradient": (
        "White-box attacks have no direction there: flat or hidden, which is no robustness.",
        "Count the result of a black-box attack (--attack square); look for a layer that is constant.",
    ),
    "no-gradient": (
        "A black-box attack stood in; it usually finds less, so the model may look too robust.",
        "Attack the floating-point model and score the inputs found there with --perturbed.",
    ),
    "straight-through": (
        "The direction of the attack is an estimate; each success is real, what resisted may not be.",
        "Compare with --attack square, and with the floating-point model.",
    ),
    "weaker-than-noise": (
        "An attack that does worse than chance did not work: no evidence of robustness.",
        "More --steps and --restarts, another --objective, or --attack square.",
    ),
    "iterative-weaker": (
        "Many steps should find at least what one step finds: the gradient leads astray.",
        "More --steps and --restarts, or --attack auto; count the lowest accuracy.",
    ),
    "black-box-stronger": (
        "The gradient does not point to adversarial inputs that exist: it is masked.",
        "Count the lowest accuracy of all attacks (--attack auto).",
    ),
    "accuracy-rises-with-eps": (
        "True robust accuracy cannot rise with eps: the attack got stuck.",
        "More --steps and --restarts; count the lowest value at any smaller eps.",
    ),
    "large-eps-not-chance": (
        "At so large an eps nothing can be told apart: the attack is broken or its gradient masked.",
        "Do not use these figures; try --attack auto, and check --range.",
    ),
    "random-outputs": (
        "The model answers differently each time, and its scores change from run to run.",
        "Export it without random operators, or attack its average over many runs.",
    ),
    "observer-difference": (
        "Watching the layers changed the model's outputs: what was scored is not quite what is deployed.",
        "Score fewer tensors (--layers activations); if it stays, report it with the model.",
    ),
    "not-finite": (
        "The model overflows on data in its declared range. That is a finding of its own.",
        "Look at the first such layer in the table, and at --range.",
    ),
    "near-zero-norm": (
        "A relative error divides by a norm that is almost zero here.",
        "Read the absolute error of that layer; one that is always near zero is dead.",
    ),
    "control-flow-changed": (
        "The perturbation made the model take another path, which does not show in a CM.",
        "Look at diverged_samples in the JSON report, and at the tensor that decides the branch.",
    ),
    "numerical-floor": (
        "The layer's score is mostly rounding, and its rank means nothing.",
        "Use a stronger perturbation, or --batch 1.",
    ),
    "empty-mvl": (
        "The layers move alike: η asks for more contrast than there is.",
        "Lower --eta, or take the largest with --top-k.",
    ),
    "native-batch": (
        "Samples ran one at a time: slower; with a free batch, answers depend on the samples beside.",
        "Nothing, or export the model with a free batch axis.",
    ),
    "one-class-only": (
        "A probability that is read as a logit always says class 1.",
        "Have the model return its logit, or end in a Sigmoid; look at the clean accuracy.",
    ),
    "partial": (
        "Perturbations are missing or saw the first samples only; the headline may be of a mild noise.",
        "Run the scan again, to its end.",
    ),
    "mixed-machines": (
        "Other machines round differently, so that the last digits may differ from a single run.",
        "Nothing, where figures are read to three digits.",
    ),
}
