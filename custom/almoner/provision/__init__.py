"""Renders FLARE projects and hardened site kits, signs and verifies them. No FLARE imports."""
