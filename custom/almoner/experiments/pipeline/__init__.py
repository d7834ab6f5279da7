"""What each layer of the hybrid pipeline costs, when it is added to those before."""
