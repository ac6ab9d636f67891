"""The annotation server: a page for clicks and scribbles, and the REST API of MONAI Label.

`application` puts it together; `guard` decides which requests reach it, `uploads` and `scans` what
becomes of files, `annotations` what users do with a scan, `models` what the runs answer.
"""
