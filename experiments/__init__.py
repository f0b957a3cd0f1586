"""What compares: command line, studies, statistics, plots and reports."""
