"""For tests of the gateway, here and on a real Kubernetes."""
