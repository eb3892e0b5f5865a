"""Why a path is down, relayed or slow: what is asked of the nodes, and the findings that come of it."""
