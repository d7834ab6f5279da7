"""What both sides of any job share: messages, sealed results, the egress policy, consent, and the protections."""
