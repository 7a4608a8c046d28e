"""What it means that bytes from elsewhere are no message: msgspec has its own errors, and two others.

Text that is not UTF-8 is a UnicodeDecodeError, and a field of a newer version that is nested too deep to be
passed over is a RecursionError.
"""

from typing import Final

import msgspec

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
