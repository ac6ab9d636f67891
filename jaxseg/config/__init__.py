"""What a config file and the command line say, checked before any data are read."""
