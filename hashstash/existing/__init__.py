"""Caches that other libraries wrote, opened as stashes: read, never written, never trusted."""
