"""The control plane: its services, Compose, the plan and its proof, Keystone, the stack and its options."""
