"""What a person's page asks for, below `/api/v1`; each file serves one thing of a home."""
