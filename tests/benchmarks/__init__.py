"""`make bench`: ratios against the shell pipeline in the same run, medians of the rounds."""
