"""Running images: the Runner protocol and the runner that needs no engine."""
