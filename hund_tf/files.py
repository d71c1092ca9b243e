"""Files that are written whole or not at all."""

import os
import tempfile


def write_atomically(path, write_to):
    """Calls `write_to(temporary path)` with the same suffix in the same folder, then moves the result to `path`."""
    folder, name = os.path.split(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=".hund-", suffix=os.path.splitext(name)[1], dir=folder)
    os.close(handle)
    try:
        write_to(temporary)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
