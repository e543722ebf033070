"""Programs on their targets: cross compilers, emulated processors in the loop, folders for firmware projects, weights as files."""
