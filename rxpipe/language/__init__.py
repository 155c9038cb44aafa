"""The graph language: YAML to a graph and back, variables, and the check that makes a graph ready to run."""
