"""Every method of the study: its name in files, its label for people, its order."""
