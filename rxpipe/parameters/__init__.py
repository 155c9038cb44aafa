"""Parameters of operators: their types, their units, and the check of values against a signature."""
