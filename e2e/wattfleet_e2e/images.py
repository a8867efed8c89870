"""Container images without a registry or a builder: a static program in an otherwise empty file system, as one archive.

The archive is in the form that `docker save` writes and every container runtime imports. Equal programs give equal
archives, byte by byte.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

USER_ID = 65532
_PASSWORDS = f"root:x:0:0:root:/:/\nnonroot:x:{USER_ID}:{USER_ID}:nonroot:/tmp:/\n"
_GROUPS = f"root:x:0:\nnonroot:x:{USER_ID}:\n"


def static_image(name: str, program: Path, entrypoint: Sequence[str], folder: Path, *, user_id: int = USER_ID) -> Path:
    """The archive in `folder` of an image `name` (`example.org/part:1.0`) that holds `program`, linked statically.

    The program lies in the image's root under its own name, and `entrypoint` starts it: `("/part", "-flag")`. It runs
    as `user_id`, which /etc/passwd knows if it is the default, and may write to /tmp.
    """
    layer = _layer(program)
    config = json.dumps(
        {
            "architecture": _architecture(program),
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": f"{user_id}:{user_id}", "WorkingDir": "/", "Env": []},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{program.name}.tar"
    with tarfile.open(archive, "w") as tar:
        for path, content in ((config_name, config), ("layer.tar", layer), ("manifest.json", manifest)):
            _add(tar, path, content, 0o644)
    return archive


def _layer(program: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, mode in (("etc", 0o755), ("tmp", 0o1777)):
            folder = tarfile.TarInfo(path)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        _add(tar, "etc/passwd", _PASSWORDS.encode(), 0o644)
        _add(tar, "etc/group", _GROUPS.encode(), 0o644)
        _add(tar, program.name, program.read_bytes(), 0o755)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    file = tarfile.TarInfo(path)
    file.size, file.mode = len(content), mode
    tar.addfile(file, io.BytesIO(content))


def _architecture(program: Path) -> str:
    """Go's name of the machine that a program is built for, from its ELF header, which is refused if it is none."""
    with program.open("rb") as file:
        header = file.read(20)
    machines = {62: "amd64", 183: "arm64"}
    machine = int.from_bytes(header[18:20], "little")
    if header[:4] != b"\x7fELF" or machine not in machines:
        raise ValueError(f"{program} is no program for {' or '.join(machines.values())}")
    return machines[machine]
