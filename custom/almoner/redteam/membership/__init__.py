"""Membership inference: whether a unit was in the training data, from the model alone and shadow models beside it."""
