"""Files on this machine or of any file system that Beam knows (gs://, s3://, hdfs://): found, read, written whole."""

import contextlib
import glob
import os
import shutil
import tempfile

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
    """As `match`, of the files of a folder itself."""
    return match(os.path.join(glob.escape(folder), "*") if is_local(folder) else FileSystems.join(folder, "*"))


def read(path):
    """The bytes of a file. Raises OSError."""
    if is_local(path):
        with open(path, "rb") as file:
            return file.read()
    with FileSystems.open(path, compression_type="uncompressed") as file:
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
    """Calls `write_to(temporary local path)`, then puts the file at `path` in one step; makes the folder."""
    if is_local(path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        write_atomically(path, write_to)
        return
    with tempfile.TemporaryDirectory(prefix="hund-") as folder:
        temporary = os.path.join(folder, path.rsplit("/", 1)[-1])
        write_to(temporary)
        with open(temporary, "rb") as source, FileSystems.create(path, compression_type="uncompressed") as target:
            shutil.copyfileobj(source, target)  # an object appears when it is complete


def write_bytes(path, content):
    """Writes bytes to a file, whole or not at all."""
    def write_to(temporary):
        with open(temporary, "wb") as file:
            file.write(content)

    write_whole(path, write_to)


@contextlib.contextmanager
def local_copy(path):
    """A local path with the content of `path`: itself, or a copy that lives as long as the block."""
    if is_local(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="hund-") as folder:
        local = os.path.join(folder, path.rsplit("/", 1)[-1])
        with FileSystems.open(path, compression_type="uncompressed") as source, open(local, "wb") as target:
            shutil.copyfileobj(source, target)
        yield local


def is_local(path):
    return "://" not in path
