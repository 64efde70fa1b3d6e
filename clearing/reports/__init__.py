"""Reports: files made of the books. Pure: rows come in as arguments, bytes go out in order, nothing is kept."""
