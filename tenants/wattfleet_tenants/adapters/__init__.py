"""Real servers behind our ports."""
