"""CARE: a third of the channels attends linearly, the rest is filtered, and the groups interact twice.

Paper: Zhou et al., "CARE Transformer: Mobile-Friendly Linear Visual Transformer", CVPR 2025, arXiv 2411.16170

layers.py holds asymmetrical decoupling with linear attention (ELU + 1, values unprojected), network.py
both interactions, the memory channels and the sizes S0, S1 and S2 of the paper, cost.py what they cost:
in closed form, and by the clock. Baselines: stacked blocks in which all channels pass every filter and
the attention in turn (as MLLA does), at equal multiply-adds and at equal width, and softmax attention.

Scaled down: parts of 32 pixels out of 12 photographs, told apart by a network of three stages and
218 thousand parameters, instead of ImageNet. There is no teacher: its head learns the labels as they
are, the other one smoothed labels. gamma starts at 0.1, as at the paper's 1e-6 blocks stay
close to the identity for hundreds of steps; no mixup, cutmix, RandAugment or erasing. The preset
`paper` is CARE-S0 with the paper's gamma.
"""

from core.studies.vision.care.study import CAREStudy

STUDY = CAREStudy
