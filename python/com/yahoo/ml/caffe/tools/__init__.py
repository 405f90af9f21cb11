"""DFConversions and Vocab, each in a module of its own as before."""
