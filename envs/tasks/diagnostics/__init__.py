"""Tasks with closed-form scores, each for one ability of a learner."""
