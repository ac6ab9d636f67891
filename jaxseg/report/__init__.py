"""What run folders tell together: tables, curves, and a page with pictures."""
