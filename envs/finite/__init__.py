"""Tasks declared as states and transitions, compiled to arrays."""
