"""The threat model, checked against the code and the tests that it names, and rendered for readers."""
