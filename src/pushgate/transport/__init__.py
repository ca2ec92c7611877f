"""One HTTP exchange within one deadline."""
