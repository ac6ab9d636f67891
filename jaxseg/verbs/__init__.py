"""The commands of `python -m jaxseg`: each module has a `main(arguments)`."""
