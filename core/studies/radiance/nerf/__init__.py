"""NeRF: a network gives density and colour, rays through it give pictures.

Paper: Mildenhall et al., "NeRF: Representing Scenes as Neural Radiance Fields", ECCV 2020, arXiv 2003.08934

The positional encoding (eq. 4) and the network (figure 7) are in network.py, rays and pixels in
data.py; stratified samples, their sum (eq. 2 and 3) and importance samples (eq. 5) are those of
core/radiance/volume.py. Two networks, coarse and fine, learn together (eq. 6).

Scaled down: the full preset has 4 layers of 64 instead of 8 of 256, 7 waves instead of 10, pictures
of 64 pixels, 256 rays of 40 samples instead of 4096 of 192, and 1500 steps, a minute of one core,
instead of a day; the claim's twelve trainings take 13 minutes. Different from the paper: captures
are taken all around and may have a sky at infinity, so places outside the ball that holds the cameras
are contracted (Barron et al. 2022, eq. 10) before they are encoded, and samples are linear in
disparity, as the paper does it for photographs taken from the front. Small networks whose density is cut at 0
as in the paper stay empty for many seeds; `quick` and `full` have a softplus there (`density`),
`paper` has the paper's.
"""

from core.studies.radiance.nerf.study import NerfStudy

STUDY = NerfStudy
