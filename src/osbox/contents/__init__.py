"""What is in the cloud: its first network, key pair and flavor, images, servers."""
