"""osbox: OpenStack in a box.

Layers, lowest first; a module imports from lower rows only (tests/test_layers.py holds it):

    0  errors, log
    1  run | model
    2  engine, docker, net, cloud, rack
    3  the verbs: images, stack, network, setup, nodes, ...
    4  cli
"""

__version__ = "0.1.0"
