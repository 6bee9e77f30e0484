"""From a target to a frozen Capture: the pickled function, its modules and its environment."""
