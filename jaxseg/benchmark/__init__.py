"""What a config costs on this machine: `jaxseg benchmark`, part by part.

Each part is a module with `measure(program, *, options) -> dict` and `lines(values)`, which says
the same for people; `parts.PARTS` names them. They need no data packages.
"""
