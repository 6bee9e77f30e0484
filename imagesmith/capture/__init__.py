"""From a target to a frozen Capture: the pickled function, its modules and its environment."""

from imagesmith.capture.take import capture

__all__ = ["capture"]
