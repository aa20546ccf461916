"""ConViT: attention that starts as a convolution and learns, head by head, whether to stay one.

Paper: d'Ascoli et al., "ConViT: Improving Vision Transformers with Soft Convolutional Inductive Biases", ICML 2021

attention.py holds gated positional self-attention (eq. 4-7) with its convolutional start (eq. 5) and
the measure of non-locality (eq. 8), network.py the transformer whose class token comes late, shown.py
what can be looked at. Baselines: the same network with random first positions, and plain attention
with the class token late (as here) or from the first block on (as DeiT has it).

Scaled down: handwritten digits of 8 pixels in patches of 2 (or parts of photographs of 32 pixels in
patches of 4) and a quarter of a million parameters instead of ImageNet; moves by one pixel and label
smoothing instead of RandAugment, mixup, cutmix, erasing and repeated augmentation. First weights have
a spread of one over the root of the width: the paper's 0.02 suits widths of 192 and more. The preset
`paper` is ConViT-Ti with that spread.
"""

from core.studies.vision.convit.study import ConViTStudy

STUDY = ConViTStudy
