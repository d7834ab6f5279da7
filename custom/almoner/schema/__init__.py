"""Every document and record of the platform, as frozen, strict pydantic models."""
