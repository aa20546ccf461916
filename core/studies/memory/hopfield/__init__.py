"""Hopfield layers: an attention step recalls stored patterns, pools sets, looks rows up.

Paper: Ramsauer et al., "Hopfield Networks is All You Need", ICLR 2021, arXiv 2008.02217

The energy (eq. 2), its update (eq. 3, which is attention) and the classical network are in
network.py, the three layers of eq. 10 in layers.py. Three tasks show them: recall of damaged
patterns (retrieval.py), multiple-instance learning (bags.py) and small tables (tables.py).

Scaled down: the immune repertoire, drug design and UCI data of the paper are replaced by bags of
handwritten digits and by three small tables; one association per layer as in the paper's own code.
The paper's exponential capacity is a statement about random patterns and is kept as it is.
"""

from core.studies.memory.hopfield.study import HopfieldStudy

STUDY = HopfieldStudy
