"""What a study found: results, tables, plots and the page."""
