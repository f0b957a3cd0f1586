"""The token MDP: tasks, the engine and its Gymnasium faces, rewards, the exact solver."""
