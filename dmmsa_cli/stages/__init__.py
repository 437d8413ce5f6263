"""What each subcommand does, callable from Python without the command line."""
