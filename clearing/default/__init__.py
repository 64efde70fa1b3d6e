"""Default management: who answers, who takes positions, and the waterfall. Pure calculations."""
