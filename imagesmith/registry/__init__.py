"""Registries: references, logins, and a small client of the distribution API.

The clients on the package index stream, but none of them resumes a cut upload, heeds Retry-After
and mounts blobs as well; the reading of docker's configuration is the docker library's.
"""
