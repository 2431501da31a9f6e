//! Directories and process groups on this machine.
