"""Control and robotics: grids, lattices, simulated bodies and any Gymnasium environment."""
