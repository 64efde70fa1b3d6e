"""The tiers of the waterfall (rulebook §11), one file each; the order is in ``order``."""
