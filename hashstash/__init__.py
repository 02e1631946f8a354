"""HashStash: stash anything under anything, in any of several engines."""
