"""The commands, a module for each noun; its `app` is what :mod:`clearctl.app` puts under its name."""
