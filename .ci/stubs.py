#!/usr/bin/env python3
"""Write type stubs for Envoy's and etcd's messages, so that strict mypy sees them: `.ci/stubs.py OUT`.

xds-protos and cslab-etcd3 ship generated modules without types. Their descriptors are in the modules
themselves, and mypy-protobuf turns descriptors into stubs, so neither protoc nor any `.proto` file is
needed and the stubs always match what is installed.
"""

import importlib
import shutil
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor import FileDescriptor

# The old API, which nothing here speaks, and what only loads next to other packages.
UNUSED = ("envoy/api/v2", "envoy/config/filter/", "envoy/service/discovery/v2", "envoy/admin/v2alpha")
PACKAGES = ("envoy", "xds", "udpa", "validate", "etcd3")

# etcd's files call themselves as if they were at the top: they are here.
ETCD = "etcd3/etcdrpc/"
ETCD_FILES = ("kv.proto", "auth.proto", "rpc.proto")


def modules() -> list[str]:
    """The generated modules of the installed xds-protos that we may want to import."""
    listed = files("xds-protos")
    if listed is None:
        sys.exit("xds-protos has no list of files: reinstall it with pip")
    paths = sorted(str(path) for path in listed if path.name.endswith("_pb2.py"))
    return [
        path.removesuffix(".py").replace("/", ".")
        for path in paths
        if path.split("/")[0] in PACKAGES and not path.startswith(UNUSED)
    ]


def etcd_modules() -> list[str]:
    """The generated modules of etcd's API."""
    return [f"{ETCD}{name}".removesuffix(".proto").replace("/", ".") + "_pb2" for name in ETCD_FILES]


def with_dependencies(names: list[str]) -> dict[str, FileDescriptor]:
    """The files of the modules *names* and all that they import, each after what it needs."""
    found: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        if file.name in found:
            return
        for dependency in file.dependencies:
            visit(dependency)
        found[file.name] = file

    for name in names:
        visit(importlib.import_module(name).DESCRIPTOR)
    return found


def generate(files_by_name: dict[str, FileDescriptor]) -> CodeGeneratorResponse:
    """Ask mypy-protobuf for the stubs of all but protobuf's own files, which have stubs already."""
    request = CodeGeneratorRequest()
    for name, file in files_by_name.items():
        described = request.proto_file.add()
        file.CopyToProto(described)
        described.name = located(name)
        described.dependency[:] = map(located, described.dependency)
        if not name.startswith("google/protobuf/"):
            request.file_to_generate.append(described.name)
    plugin = Path(sys.executable).with_name("protoc-gen-mypy")
    answer = subprocess.run([plugin], input=request.SerializeToString(), capture_output=True, check=False)
    if answer.returncode:
        sys.exit(f"{plugin} failed: {answer.stderr.decode(errors='replace')[-2000:]}")
    return CodeGeneratorResponse.FromString(answer.stdout)


def located(name: str) -> str:
    """Where the module of a file is imported from."""
    return f"{ETCD}{name}" if name in ETCD_FILES else name


def write(response: CodeGeneratorResponse, out: Path) -> int:
    """Replace *out* by the stubs; say how many there are."""
    if response.error:
        sys.exit(response.error)
    shutil.rmtree(out, ignore_errors=True)
    for stub in response.file:
        path = out / stub.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(stub.content)
    # Packages of their own win over the untyped installed ones; `google` is shared with others.
    for package in PACKAGES:
        for folder in [out / package, *(p for p in (out / package).rglob("*") if p.is_dir())]:
            (folder / "__init__.pyi").touch()
    return len(response.file)


def main() -> None:
    """Generate into the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("usage: stubs.py OUT")
    out = Path(sys.argv[1])
    print(
        f"{write(generate(with_dependencies([*modules(), *etcd_modules()])), out)} stubs in {out}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
