"""The whole platform as processes of one machine, where Kubernetes would stand in a cluster."""
