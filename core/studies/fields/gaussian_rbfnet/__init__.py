"""Gaussian RBFNet (GNF): one layer of Gaussian units in feature space decodes a grid of features.

Paper: Bouzidi et al., "GNF: Gaussian Neural Fields for Multidimensional Signal Representation", Pacific Graphics 2025

Coordinates are encoded by grids; M units measure an anisotropically scaled distance between the
feature vector and a learned centre, and a linear map of exp(-u / 2) is the signal. It takes the place
of a network of two or three layers, which is what it is compared with here: at the same multiply-adds,
and with one hidden layer at the same numbers. The units live in feature space: this is no splatting.

Scaled down: photographs of 256 pixels, dense grids of 16 to 48 cells, 32 units, hundreds of steps of
8192 samples. Three choices differ from the release. Its encoder reads its grids through the sawtooth
of factor fields but without their coefficients: a place then is known only by which repeats meet
there, and at these sizes neither decoder learns more than a blur, so grids span the domain once here
(`repeats` compares: as configured, and as often as the released class does). They start at a tenth
of its scale. Centres start spread over the features (k-means++), not all of them at one place
(`released_start` is its way). Blocks: core/nn/radial.py, core/nn/hash_levels.py;
signals: core/studies/signals.py, ray_signal.py.
"""

from core.studies.fields.gaussian_rbfnet.study import GaussianRbfStudy

STUDY = GaussianRbfStudy
