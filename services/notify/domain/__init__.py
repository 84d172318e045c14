"""Pure rules of notify: who is told what, in which words, when a machine must be silent."""
