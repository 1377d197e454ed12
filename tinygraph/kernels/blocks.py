"""Arrays a block at a time, so that what one step writes is still in the cache when the next one reads it."""

from __future__ import annotations

from collections.abc import Iterator

_BLOCK = 1 << 19  # bytes; a quarter of the second-level cache, beside which the results need room too

Block = tuple[slice, slice]


def block_shape(samples: int, channels: int, channel_bytes: int, most: int = _BLOCK) -> tuple[int, int]:
    """How many samples and channels of [N, C, *] fit into a block of `most` bytes; at least one channel of one."""
    channel_bytes = max(1, channel_bytes)
    fitting = max(1, min(channels, most // channel_bytes))
    return max(1, min(samples, most // (channel_bytes * max(1, channels)))), fitting


def blocks(samples: int, channels: int, channel_bytes: int, most: int = _BLOCK) -> Iterator[Block]:
    """The slices of samples and of channels of each block of an array [N, C, *]."""
    height, width = block_shape(samples, channels, channel_bytes, most)
    for sample in range(0, samples, height):
        for channel in range(0, channels, width):
            yield slice(sample, sample + height), slice(channel, channel + width)
