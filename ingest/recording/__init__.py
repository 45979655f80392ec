"""Run commands and write what they took as a flowdump: executables become tasks without any engine."""
