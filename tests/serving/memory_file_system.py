"""Files at memory://..., a remote file system for Beam that lives in this process; it renames over no file, as HDFS does."""

import io

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem


class MemoryFileSystem(FileSystem):
    """Beam makes an object at each use, so the files, bytes by path, are the class's."""

    files = {}

    @classmethod
    def scheme(cls):
        return "memory"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        return [self.metadata(path) for path in sorted(self.files) if path.startswith(dir_or_prefix)]

    def create(self, path, mime_type="", compression_type=""):
        return _Growing(self.files, path)

    def open(self, path, mime_type="", compression_type=""):
        self._check(path)
        return io.BytesIO(self.files[path])

    def copy(self, source_file_names, destination_file_names):
        for source, destination in zip(source_file_names, destination_file_names):
            self._check(source)
            self.files[destination] = self.files[source]

    def rename(self, source_file_names, destination_file_names):
        for source, destination in zip(source_file_names, destination_file_names):
            if destination in self.files:
                raise BeamIOError(f"{destination} is there")
            self.copy([source], [destination])
            del self.files[source]

    def exists(self, path):
        return path in self.files

    def size(self, path):
        self._check(path)
        return len(self.files[path])

    def last_updated(self, path):
        return 0.0

    def checksum(self, path):
        return str(self.size(path))

    def metadata(self, path):
        return FileMetadata(path, self.size(path), 0.0)

    def delete(self, paths):
        for path in paths:
            self._check(path)
            del self.files[path]

    def _check(self, path):
        if path not in self.files:
            raise BeamIOError(f"{path} is not there")


class _Growing(io.BytesIO):
    """What is written shows when the file is closed, be it whole or not."""

    def __init__(self, files, path):
        super().__init__()
        self._files, self._path = files, path

    def close(self):
        if not self.closed:
            self._files[self._path] = self.getvalue()
        super().close()
