"""Carrying a plan out: the Builder protocol and the builder that needs no engine."""
