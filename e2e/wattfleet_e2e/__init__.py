"""A real Kubernetes for tests, and the stories told on it."""
