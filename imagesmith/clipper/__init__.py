"""Clipper: the embedded one (server.py, kept running by daemon.py) and the client of any."""
