"""Routes of the server itself: health, the machine and its model, the page's settings. Unknown values are null."""

import asyncio
import platform
import shutil
import time
from contextlib import suppress
from pathlib import Path

import attrs
import msgspec

from gaia_core import Runtime
from gaia_core.runtime import iso
from gaia_http._settings import Settings
from gaia_http._version import package_version
from gaia_http.ui._model_state import ModelState, state_of
from gaia_http.ui._request import UIRequest
from gaia_http.ui._request_bodies import OnboardingDone, PageSettings
from gaia_http.ui._response_bodies import (
    BackgroundTask,
    Health,
    HealthStats,
    InitTask,
    ModelStatus,
    Onboarding,
    SettingsReply,
    SystemStatus,
    TaskList,
    Tunnel,
)
from gaia_http.ui._settings_store import SettingsStore, StoredSettings

SERVICE = "gaia-server"

_GB = 1e9
_LEAST_CONTEXT = 8_192


@attrs.frozen
class Machine:
    """What is known of this machine. Gigabytes are 10⁹ bytes."""

    disk_gb: float
    memory_gb: float | None
    processor: str | None


class SystemRoutes:
    """The routes of one application."""

    def __init__(self, runtime: Runtime, settings: Settings, store: SettingsStore) -> None:
        self._runtime = runtime
        self._settings = settings
        self._store = store

    async def health(self, call: UIRequest) -> Health:
        """The server answers, and how much it holds of the caller's."""
        totals = await self._runtime.sessions.totals(call.owner)
        return Health("ok", SERVICE, package_version(), HealthStats(totals.sessions, totals.messages, 0))

    async def status(self, _call: UIRequest) -> SystemStatus:
        """The machine and the default agent's model."""
        catalog = self._runtime.catalog
        spec = catalog.model(catalog.agent(catalog.default_agent).model)
        model, machine, kept = await asyncio.gather(
            state_of(self._runtime, spec), asyncio.to_thread(_machine, self._settings.data), self._store.settings()
        )
        tasks = tuple(InitTask(task.name, task.status) for task in self._tasks(model))
        return SystemStatus(
            lemonade_running=model.answers,
            model_loaded=model.name if model.answers else None,
            embedding_model_loaded=False,
            disk_space_gb=machine.disk_gb,
            memory_available_gb=machine.memory_gb,
            initialized=kept.completed_at is not None or model.answers,
            version=package_version(),
            device_supported=True,
            context_size_sufficient=spec.window is None or spec.window >= _LEAST_CONTEXT,
            default_model_name=model.name,
            lemonade_url=model.url,
            expected_model_loaded=model.answers,
            init_state="ready" if self._runtime.accepting else "stopping",
            init_tasks=tasks,
            detected_devices=("cpu",),
            active_profile="default",
            model_context_size=spec.window,
            processor_name=machine.processor,
            model_downloaded=model.downloaded,
            download_progress=model.progress,
            model_error=model.error,
        )

    async def tasks(self, _call: UIRequest) -> TaskList:
        """The start-up jobs: the server's own, the embedded model's, and what of the catalog had to be left out."""
        catalog = self._runtime.catalog
        spec = catalog.model(catalog.agent(catalog.default_agent).model)
        return TaskList(self._tasks(await state_of(self._runtime, spec)))

    def _tasks(self, model: ModelState) -> tuple[BackgroundTask, ...]:
        problems = self._runtime.catalog.problems
        failed = (
            BackgroundTask(f"catalog-{n}", each.source, "failed", each.message) for n, each in enumerate(problems, 1)
        )
        started = () if model.task is None else (model.task,)
        return (BackgroundTask("start", "Start the server", "completed"), *started, *failed)

    # The page's settings.

    async def settings(self, _call: UIRequest) -> SettingsReply:
        """The page's settings."""
        return await self._reply(await self._store.settings())

    async def change_settings(self, call: UIRequest) -> SettingsReply:
        """Change what the body gives."""
        body = await call.body(PageSettings)
        given = {name: getattr(body, name) for name in body.__struct_fields__}
        changes = {name: value for name, value in given.items() if value is not msgspec.UNSET}
        return await self._reply(await self._store.change(**changes))

    async def _reply(self, kept: StoredSettings) -> SettingsReply:
        catalog = self._runtime.catalog
        wanted = kept.custom_model or catalog.agent(catalog.default_agent).model
        spec = next((spec for spec in catalog.models if spec.name == wanted), None)
        state = await state_of(self._runtime, spec) if spec is not None else ModelState(answers=False, name=wanted)
        found = spec is not None and spec.kind != "none"
        status = ModelStatus(found, state.downloaded, state.answers)
        return SettingsReply(kept.custom_model, kept.context_size, kept.agent_mode, kept.dynamic_tools, status)

    async def onboarding(self, _call: UIRequest) -> Onboarding:
        """Whether the page's first steps were taken."""
        return _onboarding(await self._store.settings())

    async def complete_onboarding(self, call: UIRequest) -> Onboarding:
        """They were."""
        body = await call.body(OnboardingDone)
        return _onboarding(await self._store.change(completed_at=time.time(), skipped=body.skipped))

    async def tunnel(self, _call: UIRequest) -> Tunnel:
        """This server opens no tunnel."""
        return Tunnel()


def _onboarding(kept: StoredSettings) -> Onboarding:
    done = kept.completed_at
    return Onboarding(done is not None, kept.skipped, iso(done) if done is not None else None)


def _machine(data: Path | None) -> Machine:
    folder = data if data is not None and data.is_dir() else Path.cwd()
    free = shutil.disk_usage(folder).free
    return Machine(round(free / _GB, 2), _memory(), _processor())


def _memory() -> float | None:
    """What the kernel says that processes may still take."""
    kilobytes = _of_proc("/proc/meminfo", "MemAvailable")
    if kilobytes is None:
        return None
    return round(int(kilobytes.split()[0]) * 1024 / _GB, 2)


def _processor() -> str | None:
    return _of_proc("/proc/cpuinfo", "model name") or platform.processor() or platform.machine() or None


def _of_proc(path: str, key: str) -> str | None:
    with suppress(OSError):
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return None
