"""Several processes that train as one: how they start, agree, and hear of others' failures."""

from jaxseg.processes.agreement import alike as alike
from jaxseg.processes.agreement import first_then_all as first_then_all
from jaxseg.processes.agreement import on_first as on_first
from jaxseg.processes.agreement import together as together
from jaxseg.processes.failure import ending as ending
from jaxseg.processes.failure import fail as fail
from jaxseg.processes.failure import loss_of_others as loss_of_others
from jaxseg.processes.start import start_processes as start_processes
