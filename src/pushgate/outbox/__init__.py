"""What could not be delivered, on disk, shared by all processes of a host."""
