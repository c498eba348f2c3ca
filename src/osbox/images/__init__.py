"""What the images are and what is in them: catalogue, labels, layers, packages; and a container of one to ask
or to test."""
