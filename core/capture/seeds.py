"""Seed points."""

from __future__ import annotations


def find_seeds(capture, key, how):
    return capture
