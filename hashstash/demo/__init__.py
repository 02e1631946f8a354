"""The demo: analyse every module of Python's own library, stash the results, read them again."""
