"""Ways to look at a graph and its results: drawings, the operator reference, documents, notebooks."""
