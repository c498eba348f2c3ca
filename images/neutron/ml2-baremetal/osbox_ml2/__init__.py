"""ML2 plug-ins of osbox."""
