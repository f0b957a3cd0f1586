"""Games of one and two players."""
