"""Wheels: what an index has as source only, a project's folder or a repository becomes a wheel."""
