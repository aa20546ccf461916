"""Axial Transformer: pictures value by value, with attention along one axis at a time.

Paper: Ho et al., "Axial Attention in Multidimensional Transformers", 2019, arXiv 1912.12180

A stack of row and column attention reads the rows above (outer), is shifted down by one row, and a
stack of masked row attention reads the own row to the left (inner): every value is predicted from
exactly the values before it, and drawing a picture repeats the inner stack alone. Earlier colour
channels come in through blocks that see them whole (exterior). Blocks are in layers.py, the network
and its baselines in network.py, samplers and the audit of the mask in sampling.py, costs in cost.py.

Scaled down: ImageNet and the robot videos are replaced by the 8x8 digits of scikit-learn, which have
17 levels and one channel, so that they need no exterior, and by 16x16 squares of photographs in 16
levels, which have one; 6 and 8 blocks of 64 numbers instead of 24 of 1536. Bits of other levels than
256 compare with nothing in the paper's tables. The mean of the weights decays by 0.99, not 0.99995.
"""

from core.studies.vision.axial.study import AxialStudy

STUDY = AxialStudy
