"""Files <-> arrays with their geometry, one format per file."""
