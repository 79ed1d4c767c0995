"""Where studies are computed: processes of this machine, jobs of a cluster, or a scheduler."""
