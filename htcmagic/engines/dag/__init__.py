"""DAGMan: a workflow in HTCondor's own language, checked, sent, drawn while it runs, resumed after a failure."""
