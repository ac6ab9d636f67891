"""Why a network said so: maps of what a score depends on, and how far they can be believed.

Every method is a function of (apply, params, image, target) and options; a file each.
"""
