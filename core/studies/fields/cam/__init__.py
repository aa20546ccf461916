"""Coordinate-aware modulation: grids scale and shift the features inside a coordinate network.

Paper: Lee et al., "Coordinate-Aware Modulation for Neural Fields", ICLR 2024

A layer of the network is `h' = act(gamma(x) * norm(W h + b) + beta(x))`, where gamma and beta are one
number each, read by linear interpolation from grids of the layer's own at the sample's coordinates
(gamma starts at one, beta at zero). Signals: photographs with 256 Fourier features in front
(Tancik et al. 2020), one-dimensional sums of waves, and a moving picture modulated by time alone.

Scaled down: pictures of 96 pixels and 128 frequencies instead of 512 and 256. The spread of the
frequencies and the cells of a grid keep the paper's ratio to the learned pixels: with the paper's own
numbers 48 pixels a side are learned by heart and nothing between them is right. The paper's video and
radiance fields are left out; a moving picture stands for modulation by time. Kept: every second
pixel is learned from and the others are measured on, grids learn ten times as fast as weights, a
batch is the whole picture. The networks are in networks.py.
"""

from core.studies.fields.cam.study import CamStudy

STUDY = CamStudy
