"""The FLARE components that a job's configuration names: controller, executor, filters."""
