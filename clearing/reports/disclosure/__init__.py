"""The public quantitative disclosure of CPMI-IOSCO: its items, what they are computed from, and their measures."""
