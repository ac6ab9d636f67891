"""Folders of predictions against folders of references: find, score, summarise, compare, report."""
