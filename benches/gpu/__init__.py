"""What a machine with a GPU is to show; see gpu.sh."""
