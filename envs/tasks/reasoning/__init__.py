"""Questions with one right answer, written token by token."""
