"""The provisioning network: values, a pure plan, netlink, converging to the plan, connecting the cloud, a
picture."""
