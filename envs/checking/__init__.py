"""What stops at the door: errors, checks of fields and arguments, the gate for code that strings name."""
