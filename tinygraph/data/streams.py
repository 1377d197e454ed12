"""Random numbers that depend on a seed and a place alone."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, purpose: str, major: int = 0, minor: int = 0) -> np.random.Generator:
    """A generator that shares no numbers with that of another seed, purpose or place.

    Args:
        seed: any whole number of 64 bits.
        purpose: what the numbers are for.
        major: place among the streams of that purpose, such as the epoch.
        minor: place within it, such as the batch.
    """
    key = [seed, zlib.crc32(purpose.encode())]
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, minor, major]))
