"""The engine that compiles a whole program to native code by LLVM."""
