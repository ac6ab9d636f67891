"""A session: a user's prompts on one scan and what was answered, as values that never change.

Every function takes a state and gives another one; the former stays as it is. What a front end
calls, `Scan` being what a run knows of a scan (`jaxseg.runs.interactive.open_run(RUN).scan(raw)`):

    state = start(scan)                                    # the automatic segmentation
    state = add(scan, state, {"class": "lesion", "point": (z, y, x)})
    state = add(scan, state, [{"class": 0, "stroke": [...]}, ...])   # several prompts, one answer
    state = undo(state); state = redo(state); state = reset(state)   # to any depth, the same bits
    state = freeze(scan, state, label="lesion")            # or region=(*space) bool of the scan
    state = thaw(scan, state)
    state = select(scan, state, "left kidney")             # another object, which begins empty
    labels(scan, state)         # (*space) int32 stored values on the scan's own grid, to be written
    legend(scan, state)         # name -> stored value
    can_undo(state), can_redo(state), state.steps[-1].seconds        # the time of the last answer
    record(scan, state)         # as JSON: the scan, and all steps; `replay(scan, told)` plays it

Prompts are in the scan's own voxels, as its array has them: (z, y, x) or (y, x), the middle of the
first voxel 0; see `jaxseg.interaction.files` for the file, which may have millimetres. A class is
its name, or the value that it has in label files; the background's are the negative prompts. All
raise ValueError of one sentence for prompts that are outside of the scan, contradict others, are of
no class or of a kind that the run was not trained with; the state is as before.
"""
