"""What every adapter of the operator's ports has to keep, wherever it leads."""
