"""The small native library: kernels in C, and whether they are here. docs/native-kernels.md tells how it is built."""

from sanakit.kernels.native.library import NativeLibrary, native_library

__all__ = ["NativeLibrary", "native_library"]
