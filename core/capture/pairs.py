"""Which pictures without poses are worth comparing: all, or neighbours in order and those that look alike.

Alike is measured on the capture's own features, without a vocabulary from elsewhere: each picture
becomes one vector, the sums of how its descriptors differ from the nearest of WORDS centres that
were found in a sample of all descriptors (VLAD, Jegou et al. 2010); the cosine of two vectors
closes loops and finds the neighbours in folders without an order.

    descriptors  per picture [F, D] float or uint8
    ->
    pairs        indices (a, b), a < b
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

ALL_PAIRS_UP_TO = 60  # pictures
WINDOW = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)  # places after a picture, in the order of the names
ALIKE = 10  # pictures that look most alike
WORDS = 64
SAMPLE = 20_000  # descriptors that the words are found in
ROUNDS = 10


def choose_pairs(descriptors: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Return the index pairs worth comparing, by the descriptors of the pictures in the order of their names."""
    count = len(descriptors)
    if count <= ALL_PAIRS_UP_TO:
        return [(a, b) for a in range(count) for b in range(a + 1, count)]
    pairs = {(a, a + step) for a in range(count) for step in WINDOW if a + step < count}
    cosine = likeness(descriptors)
    np.fill_diagonal(cosine, -np.inf)
    for first, second in pairs:
        cosine[first, second] = cosine[second, first] = -np.inf  # compared already
    for a in range(count):
        for b in np.argsort(-cosine[a], kind="stable")[:ALIKE]:
            if cosine[a, b] > 0:
                pairs.add((min(a, int(b)), max(a, int(b))))
    return sorted(pairs)


def likeness(descriptors: Sequence[np.ndarray]) -> np.ndarray:
    """Return how alike pictures are, [C, C] in -1..1."""
    rng = np.random.default_rng(0)
    share = max(1, SAMPLE // max(1, len(descriptors)))
    sample = np.concatenate([_some(found, share, rng) for found in descriptors])
    if not len(sample):
        return np.zeros((len(descriptors), len(descriptors)), np.float32)
    words = _words(sample, rng)
    vectors = np.stack([_vector(_unit(found), words) for found in descriptors])
    return vectors @ vectors.T


def _some(found: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.permutation(len(found))[:count]
    return _unit(found[chosen])


def _unit(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-9)


def _words(sample: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the centres [K, D] of clusters of the sample [S, D] (Lloyd's algorithm)."""
    words = sample[rng.permutation(len(sample))[:WORDS]]
    for _ in range(ROUNDS):
        nearest = _nearest(sample, words)
        sums = np.zeros_like(words)
        np.add.at(sums, nearest, sample)
        sizes = np.bincount(nearest, minlength=len(words))
        words = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], words)
    return words


def _nearest(values: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return the index [S] of the nearest word."""
    return np.argmin((words**2).sum(1) - 2 * values @ words.T, axis=1)


def _vector(found: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return one unit vector [K * D] for a picture; zeros where it has no features."""
    nearest = _nearest(found, words)
    sums = np.zeros_like(words)
    np.add.at(sums, nearest, found - words[nearest])
    flat = _unit(sums).ravel()  # a word that fills half the picture counts as much as any other
    return flat / max(float(np.linalg.norm(flat)), 1e-9)


def pairs_text(names: Sequence[str], pairs: Iterable[tuple[int, int]]) -> str:
    """Return the list of pairs as COLMAP reads it."""
    return "".join(f"{names[a]} {names[b]}\n" for a, b in pairs)
