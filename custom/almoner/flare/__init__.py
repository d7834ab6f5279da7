"""The only place that imports nvflare."""
