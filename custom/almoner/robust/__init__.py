"""Byzantine-robust aggregation: pure rules on float32[n, d], pre-aggregations, and what they report."""
