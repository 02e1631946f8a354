"""Function results: what a call is, what it gave, and maps of many calls."""
