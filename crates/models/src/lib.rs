//! Mel, the screen CNN and its training on libtorch.
