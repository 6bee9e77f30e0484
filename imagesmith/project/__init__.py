"""Projects: several models that one file names, built side by side."""
