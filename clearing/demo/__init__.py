"""A clearing house on a real crash: 12 and 13 March 2020, hour by hour, with made-up members."""
