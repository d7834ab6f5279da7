"""Byzantine sites: what a member that lies sends, and how much of a model each rule lets it ruin."""
