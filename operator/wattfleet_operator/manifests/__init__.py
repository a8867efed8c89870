"""What the operator and the charts give to Kubernetes, as plain dictionaries."""
