"""A model's folder in, the version to serve out; a new one is loaded and warmed up before it takes over."""

import asyncio
import gc
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
from tensorflow_serving.apis import get_model_status_pb2

from hund_tf.clock import Clock
from hund_tf.serving import errors, warmup
from hund_tf.serving.servable import Servable

_LOG = logging.getLogger(__name__)
_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "fingerprint.pb")
MAX_ENDED = 20  # versions that are gone and still listed
_State = get_model_status_pb2.ModelVersionStatus.State
LOADING, AVAILABLE, UNLOADING, END = _State.LOADING, _State.AVAILABLE, _State.UNLOADING, _State.END


class VersionState(NamedTuple):
    """Where a version stands: a state of ModelVersionStatus, and why if it failed."""

    state: int
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""


class Versions:
    """The versions of one model; made and used on one event loop.

    A load ends with `gc.freeze`, which holds for the whole process: see `_settle`.

    Args:
        name: str, the model's.
        path: str, folder BASE of BASE/<version>/saved_model.pb, or that of one SavedModel.

    Attributes:
        current: `Servable` that serves, or None.
        states: dict, `VersionState` by version.
    """

    def __init__(self, name, path):
        self.name, self.current, self.states = name, None, {}
        self._path = path
        self._failed = {}  # version -> what its folder held when it could not be loaded
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._retiring, self._load_under_way = set(), None

    @property
    def loading(self):
        """Whether a version is being loaded; nothing can stop its thread."""
        return self._load_under_way is not None and not self._load_under_way.done()

    def find(self, name, version=None, label=""):
        """The `Servable` of a request; NOT_FOUND where there is none, UNAVAILABLE while the first one loads."""
        if not name:
            raise errors.invalid("A request must name its model (model_spec.name). Received: no name.")
        if name != self.name:
            raise errors.not_found(f"The model must be {self.name!r}. Received: {name[:100]!r}.")
        if label:
            raise errors.invalid(f"Unrecognized servable version label: {label[:100]}; this server has no labels.")
        if self.current is None:
            raise errors.unavailable(f"Model {self.name!r} is not loaded yet; try again later.")
        if version is not None and version != self.current.version:
            raise errors.not_found(f"The version of model {self.name!r} must be {self.current.version}, or left out. "
                                   f"Received: {version}.")
        return self.current

    async def refresh(self):
        """One look at the folder: the highest version that can be loaded takes over."""
        found = await self._on_thread(folders, self._path)
        if not found:
            if self.current is not None:
                _LOG.warning("%s holds no version any more; version %d goes on", self._path, self.current.version)
            return
        for version in sorted(found, reverse=True):
            if self.current is not None and version == self.current.version:
                return
            content = await self._on_thread(_content, found[version])
            if self._failed.get(version) == content:
                continue  # it is tried again when its folder changes
            servable = await self._load(found[version], version)
            if servable is None:
                self._failed[version] = content
                continue
            self._failed.pop(version, None)
            self._take_over(servable)
            return

    async def watch(self, seconds):
        """Looks again and again, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except Exception:  # a disk that fails once must not end the watch
                _LOG.exception("the look at %s failed", self._path)

    async def close(self):
        """Frees the version that serves unless somebody uses it; waits for no one, nor for a load that goes on."""
        if self.current is not None and not self.current.users.count and not self.loading:
            await self._on_thread(self.current.close)
        self.current = None
        self._loader.shutdown(wait=False)

    def reason(self):
        """Why no version serves, one sentence."""
        failed = [f"version {version}: {state.message}" for version, state in self.states.items() if state.message]
        what = "; ".join(failed) if failed else "no folder whose name is a number" if not folders(self._path) else "none"
        return ("--model must hold a SavedModel that can be loaded, in a folder named by its version. "
                f"Received: {self._path} ({what}).")

    async def _load(self, folder, version):
        _LOG.info("version %d: loading %s", version, folder)
        self.states[version] = VersionState(LOADING)
        self._load_under_way = self._loader.submit(_load_and_warm, folder, version)
        try:
            servable, said = await asyncio.wrap_future(self._load_under_way)
        except Exception as error:  # whatever a broken folder brings about, the old version serves on
            code = getattr(error, "code", grpc.StatusCode.UNKNOWN)
            message = f"{type(error).__name__}: {error}" if not isinstance(error, errors.RequestError) else f"warm-up: {error}"
            self.states[version] = VersionState(END, code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN,
                                                message[:errors.MAX_MESSAGE])
            _LOG.error("version %d cannot be loaded and is left out: %s", version, message)
            return None
        _LOG.info("version %d: %s", version, said)
        return servable

    def _take_over(self, servable):
        old, self.current = self.current, servable
        self.states[servable.version] = VersionState(AVAILABLE)
        _LOG.info("version %d serves", servable.version)
        if old is not None:
            self.states[old.version] = VersionState(UNLOADING)
            retirement = asyncio.ensure_future(self._retire(old))
            self._retiring.add(retirement)
            retirement.add_done_callback(self._retiring.discard)

    async def _retire(self, servable):
        """Waits until the last request of a version is answered, then frees it."""
        unused = asyncio.get_running_loop().create_future()
        servable.users.when_none(lambda: unused.done() or unused.set_result(None))
        await unused
        await self._on_thread(_free, servable)
        if self.states[servable.version].state == UNLOADING:
            self.states[servable.version] = VersionState(END)
        for version in [version for version, state in self.states.items() if state.state == END][:-MAX_ENDED]:
            del self.states[version]
        _LOG.info("version %d: unloaded", servable.version)

    def _on_thread(self, function, *arguments):
        return asyncio.get_running_loop().run_in_executor(self._loader, function, *arguments)


def folders(path):
    """The folder of each version below a base, dict by number; a SavedModel itself is its name's version, else 1."""
    if any(os.path.exists(os.path.join(path, name)) for name in _MODEL_FILES):
        name = os.path.basename(os.path.abspath(path))
        return {int(name) if _is_number(name) else 1: path}
    try:
        names = os.listdir(path)
    except OSError:
        return {}
    return {int(name): os.path.join(path, name) for name in names
            if _is_number(name) and os.path.isdir(os.path.join(path, name))}


def _is_number(name):
    return name.isascii() and name.isdigit() and int(name) < 2**63


def _content(folder):
    """What a folder holds, to see whether it changed: names, sizes, times."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.stat(os.path.join(place, name))
            except OSError:  # being replaced just now
                continue
            found.append((place, name, status.st_size, status.st_mtime_ns))
    return sorted(found)


def _load_and_warm(folder, version):
    clock = Clock()
    servable = Servable(folder, version)
    clock.lap("load")
    try:
        count = warmup.replay(servable)  # one by one: a session prepares one graph at a time
    except BaseException:
        servable.close()
        raise
    clock.lap("warm-up")
    _settle()
    return servable, f"loaded in {clock.laps['load']:.1f} s, {count} warm-up requests in {clock.laps['warm-up']:.1f} s"


def _free(servable):
    servable.close()
    _settle()  # graphs are rings of references


def _settle():
    """Collects what is garbage now, and keeps the collector, during which no thread runs, from what is left: TensorFlow's
    objects are so many that a look at all of them takes far longer than to parse the request that brought it about."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
