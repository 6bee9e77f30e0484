"""The store seen from outside: what is in it, and clearing it."""
