"""Tri-plane processing: many small fields are fitted, and their planes alone tell what they hold.

Paper: Cardace et al., "Neural Processing of Tri-Plane Hybrid Neural Fields", ICLR 2024

Each object is a neural field of its own: three planes of features and a small network (fields.py),
fitted from points (fitting.py) with a start of its own. A Transformer whose tokens are the planes'
channels classifies objects without a look at the networks or the surface (readers.py, reading.py),
another asks it for the parts of points (parts.py). Beside it: a convolutional network on the same
planes, the weights of fields without planes (with starts of their own, or all with one), codes of a
network that all share, and PointNet on points of the surface. The board shows fields while they learn.

Scaled down: 600 thick handwritten digits, each turned and scaled, instead of ShapeNet and its like;
furniture out of superquadrics for parts; planes of 16 cells and 8 channels, 200 steps of 256 points;
occupancy alone, no distances and no radiance; sines with omega 5 beside planes and 10 without.
Points see no other points in the part decoder. The paper's sizes are the preset `paper`.
"""

from core.studies.fields.triplane.study import TriplaneStudy

STUDY = TriplaneStudy
