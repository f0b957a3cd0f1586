"""The pure mathematics that updates are made of, each part tested against a closed form."""
