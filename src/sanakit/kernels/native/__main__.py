"""``python -m sanakit.kernels.native`` builds the library into this checkout or installation."""

from sanakit.kernels.native.build import main

main()
