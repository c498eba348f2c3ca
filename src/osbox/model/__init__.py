"""Typed, frozen values and their loading; nothing here touches the machine beyond reading the file it is given."""
