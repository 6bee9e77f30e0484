"""conda's packages: which of them linux-64 has, and which versions fit together."""
