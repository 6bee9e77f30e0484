"""Squarified treemaps: rectangles whose areas are in proportion to weights, as square as may be.

Source: Bruls, Huizing, van Wijk, "Squarified Treemaps" (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Frame:
    """A rectangle: its upper left corner, its width and its height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Its area."""
        return self.width * self.height

    def cut(self, share: float) -> tuple[Frame, Frame]:
        """Cut it across its longer side: a part with this share of its area, and the rest."""
        return self.split(share, sideways=self.width >= self.height)

    def split(self, share: float, *, sideways: bool) -> tuple[Frame, Frame]:
        """Cut it in two, beside each other or one above the other; the first has this share."""
        if sideways:
            part = self.width * share
            rest = Frame(self.x + part, self.y, self.width - part, self.height)
            return Frame(self.x, self.y, part, self.height), rest
        part = self.height * share
        rest = Frame(self.x, self.y + part, self.width, self.height - part)
        return Frame(self.x, self.y, self.width, part), rest


def squarified(weights: Sequence[int], frame: Frame) -> list[Frame]:
    """Divide a frame by weights, none of them negative; the rectangles come in the same order.

    The heaviest is in the upper left corner. What weighs nothing has a frame of no area.
    """
    order = sorted(range(len(weights)), key=lambda index: -weights[index])
    frames = [Frame(frame.x, frame.y, 0.0, 0.0)] * len(weights)
    left, rest = sum(weights), frame
    while order and left:
        count = _row([weights[index] for index in order], left, rest)
        row, order = order[:count], order[count:]
        heavy = sum(weights[index] for index in row)
        stacked = rest.width >= rest.height
        strip, rest = rest.cut(heavy / left)
        left -= heavy
        for index in row:
            frames[index], strip = strip.split(weights[index] / heavy, sideways=not stacked)
            heavy -= weights[index]
    return frames


def _row(heavy: Sequence[int], total: int, frame: Frame) -> int:
    """Say how many of these weights, which fall, make the strip whose worst is most square."""
    scale = frame.area / total
    side = min(frame.width, frame.height)
    sum_, worst = 0.0, float("inf")
    for count, weight in enumerate(heavy):
        sum_ += weight * scale
        # Of those in a strip it is the first or the last.
        now = max(_ratio(one * scale, sum_, side) for one in (heavy[0], weight))
        if now > worst:
            return count
        worst = now
    return len(heavy)


def _ratio(area: float, strip: float, side: float) -> float:
    """Say how far from a square a rectangle of this area is in a strip along a side."""
    if not area:
        return float("inf")
    return max(side**2 * area / strip**2, strip**2 / (side**2 * area))
