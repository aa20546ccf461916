"""MobileNetV2: thin tensors joined by skips, wide ones filtered channel by channel, linear projections.

Paper: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018

network.py builds a network from the paper's table 2 or a small one like it, costs.py counts its
multiply-adds from the table and while it runs, relevance.py draws Grad-CAM (Selvaraju et al. 2017),
spiral.py is the demonstration of figure 1. MobileNetV1 is a variant, and so are the paper's
ablations of figure 6: an activation after the projection, skips between expansions, no skips.

Scaled down: handwritten digits of 16 pixels (or parts of photographs, or faces) and a network of 31
thousand parameters instead of ImageNet; Adam with a cosine instead of RMSProp on 16 workers, at the
rate of 0.01, 0.02 and 0.04 that suits both kinds of projection best on a seed of no claim. The
detector and the segmenter that the paper builds on top are left out. The paper's own network is
the preset `paper`; its counts are compared with those that its authors publish.
"""

from core.studies.vision.mobilenetv2.study import MobileNetStudy

STUDY = MobileNetStudy
