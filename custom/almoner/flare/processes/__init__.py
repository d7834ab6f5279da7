"""The processes of a server or site: what they inherit, how jobs start, and how those end that were left open."""
