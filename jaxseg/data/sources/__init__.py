"""Users' data sets: which files make which cases, and what their labels mean."""
