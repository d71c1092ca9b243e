"""Files on this machine or of any file system that Beam knows (gs://, s3://, hdfs://): found, read, written whole."""

import contextlib
import glob
import os
import shutil
import tempfile
import uuid

from apache_beam.io.filesystems import FileSystems

from hund_tf.files import write_atomically


def match(pattern):
    """Paths and sizes in bytes of the files that a pattern names, sorted by path; `**` stands for folders, too."""
    if is_local(pattern):
        paths = [pattern] if os.path.isfile(pattern) else glob.glob(pattern, recursive=True)
        files = {os.path.normpath(path) for path in paths if os.path.isfile(path)}
        return sorted((path, os.path.getsize(path)) for path in files)
    return sorted((found.path, found.size_in_bytes) for found in FileSystems.match([pattern])[0].metadata_list)


def inside(folder):
    """As `match`, of the files of a folder itself; none if it is not there."""
    if is_local(folder):
        return match(os.path.join(glob.escape(folder), "*"))
    if FileSystems.get_filesystem(folder).has_dirs() and not exists(folder):
        return []
    return match(FileSystems.join(folder, "*"))


def opened(path):
    """A file to read bytes from. Raises OSError."""
    return open(path, "rb") if is_local(path) else FileSystems.open(path, compression_type="uncompressed")


def read(path):
    """The bytes of a file. Raises OSError."""
    with opened(path) as file:
        return file.read()


def exists(path):
    return os.path.exists(path) if is_local(path) else FileSystems.exists(path)


def remove(path):
    """Removes a file if it is there."""
    if is_local(path):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    elif exists(path):
        FileSystems.delete([path])


def join(folder, *names):
    return os.path.join(folder, *names) if is_local(folder) else FileSystems.join(folder, *names)


def write_whole(path, write_to):
    """Calls `write_to(temporary local path)`, then puts the file at `path` whole; makes the folder.

    On a remote file system the file is copied under a temporary name, `.hund-*.tmp` in the same folder, and then renamed. A
    file that was there is removed just before, since not every file system renames over one.
    """
    if is_local(path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        write_atomically(path, write_to)
        return
    with tempfile.TemporaryDirectory(prefix="hund-") as folder:
        parent, name = FileSystems.split(path)
        local, hidden = os.path.join(folder, name), FileSystems.join(parent, f".hund-{uuid.uuid4().hex}.tmp")
        write_to(local)
        try:
            with open(local, "rb") as source, FileSystems.create(hidden, compression_type="uncompressed") as target:
                shutil.copyfileobj(source, target)
            remove(path)
            FileSystems.rename([hidden], [path])
        except BaseException:
            with contextlib.suppress(OSError):  # the file system is at fault already; the first error says more
                remove(hidden)
            raise


def write_bytes(path, content):
    """Writes bytes to a file, whole or not at all."""
    def write_to(temporary):
        with open(temporary, "wb") as file:
            file.write(content)

    write_whole(path, write_to)


@contextlib.contextmanager
def local_copy(path):
    """A local path in UTF-8 with the content of `path`, which lives as long as the block: itself, a link or a copy."""
    if is_local(path) and as_text(path) == path:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="hund-") as folder:
        local = os.path.join(folder, "file" + as_text(os.path.splitext(path)[1]))
        if is_local(path):
            os.symlink(os.path.abspath(path), local)
        else:
            with opened(path) as source, open(local, "wb") as target:
                shutil.copyfileobj(source, target)
        yield local


def is_local(path):
    return "://" not in path


def as_text(name):
    """A file name that can be written as UTF-8: bytes that are none stand as `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
