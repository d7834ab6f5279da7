"""Properties have no deadline: the machine is shared."""

from hypothesis import settings

settings.register_profile("almoner", deadline=None)
settings.load_profile("almoner")
