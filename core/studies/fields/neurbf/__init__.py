"""NeuRBF: features on radial bases that stand where the detail is, beside a small grid.

Paper: Chen et al., "NeuRBF: A Neural Fields Representation with Adaptive Radial Basis Functions", ICCV 2023

A place blends the features of its nearest kernels, each weight sent through sines of its own
frequency per channel, and a decoder reads them together with a small hash grid. Kernels stand where
k-means puts them, weighted by the gradient of a photograph, by the nearness of a surface, or by what
a grid learned first has found of a scene; they have the shape of their cluster and do not move.

Scaled down: photographs of 256 pixels, 16 channels, a decoder 32 wide, hundreds of steps of 8192
samples. Number of kernels, as published, such that all numbers together are as many as those of
the hash grid that is compared with. In scenes a hash grid stands for the low-rank factors of the
release and harmonics for its spherical-Gaussian colours. Blocks: core/nn/radial.py; the kernels'
places: core/nn/kernel_places.py; signals: core/studies/signals.py, ray_signal.py.
"""

from core.studies.fields.neurbf.study import NeuRbfStudy

STUDY = NeuRbfStudy
