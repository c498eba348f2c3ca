"""The tests of an image, by what they look at: what is declared, its files, its programs, its life.

Each yields a line for every thing that is wrong, and nothing when all is well.
"""
