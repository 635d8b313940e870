"""The command line: a module for a group of commands. Imports all packages. Begin with main, whose COMMANDS
names the module of each."""
