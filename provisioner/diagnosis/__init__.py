"""Why a node is not in the cluster: what was found on the hosts and between them, judged. Pure."""
