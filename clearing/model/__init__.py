"""Values of the clearing house: ids, rows, commands, outcomes, and the state they make."""
