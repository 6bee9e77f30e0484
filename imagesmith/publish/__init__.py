"""Where finished images go: the store, an OCI layout, an archive."""
