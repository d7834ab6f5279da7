"""Takes each control of the threat model out of the shipped code, and sees that its test fails then."""
