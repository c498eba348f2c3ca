"""A release of OpenStack as its folder says it, and its locks: read, compared, resolved anew."""
