"""What is learnt from: episodes, batches of them, and the replay."""
