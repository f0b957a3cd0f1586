"""The solver: random, optimal and KL-optimal returns, exact Q and V, exact evaluation of a policy."""
