"""Problems that are ready to run: each recipe makes its learner, its tasks and its test."""
