"""What somebody may plant where a stash keeps its rows: it is refused, and nothing of it runs."""
