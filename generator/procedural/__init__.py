"""An endless place of rooms, corridors and yards whose truth is known."""
