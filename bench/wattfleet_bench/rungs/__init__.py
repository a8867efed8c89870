"""The rungs of the ladder, from one part alone to all of them together; each is a function from `Bench` to results."""
