"""Seeing that an image answers as the function did, before anybody depends on it."""
