"""Make the library of kernels: ``python -m n4ax.kernels [FOLDER]``.

Small examples show which kinds of arguments the kernels are called with. numba compiles the kernels
for these, for all machines of a level and not for this one alone. Each kernel gets an entry, which
reads its arguments from slots (:mod:`n4ax.engines.compiled.arguments`). The linker of the C
compiler makes a library of all of it, which needs neither numba nor Python.
"""

# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false

import os
import pickle
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from n4ax.engines.compiled.kernel import Kernel
from n4ax.engines.compiled.library import FOLDER, KERNELS_VARIABLE, LEVELS, PACKAGE, find_path

TARGETS = {"v4": ("x86-64-v4", ""), "v3": ("x86-64-v3", ""), "v8": ("generic", "+neon")}
"""The processor and the extensions that each level is compiled for, in LLVM's words.

All processors with AVX2 and FMA from 2013 on are of the level x86-64-v3."""

LINKERS = ("cc", "gcc", "clang", "ld")

RUNTIME = """
target triple = "{triple}"
declare ptr @malloc(i64)
declare void @free(ptr)

; The head of a piece of memory, as numba lays it out: its references, two words, and its address.
define ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align) {{
  %alignment = zext i32 %align to i64
  %head = add i64 %alignment, 64
  %total = add i64 %size, %head
  %memory = call ptr @malloc(i64 %total)
  %failed = icmp eq ptr %memory, null
  br i1 %failed, label %none, label %some
none:
  ret ptr null
some:
  %address = ptrtoint ptr %memory to i64
  %end = add i64 %address, %head
  %negative = sub i64 0, %alignment
  %aligned = and i64 %end, %negative
  %data = inttoptr i64 %aligned to ptr
  store i64 1, ptr %memory
  %place = getelementptr i8, ptr %memory, i64 24
  store ptr %data, ptr %place
  ret ptr %memory
}}

define void @NRT_MemInfo_call_dtor(ptr %memory) {{
  call void @free(ptr %memory)
  ret void
}}

declare float @nextafterf(float, float)
define float @numba_nextafterf(float %value, float %towards) {{
  %next = tail call float @nextafterf(float %value, float %towards)
  ret float %next
}}
"""
"""What numba's runtime does for kernels: allocate the memory of an array, free it, and find the
number of single precision next to another."""


class BuildError(Exception):
    """The library cannot be made here; the message says why."""


def build(folder: Path) -> list[Path]:
    """Make the libraries for all levels of this kind of machine, and return their paths.

    Raises
    ------
    BuildError
        They cannot be made here.
    """
    levels = LEVELS.get(platform.machine(), {}) if sys.platform == "linux" else {}
    if not levels:
        raise BuildError(f"there is no library for {sys.platform} on {platform.machine()}")
    paths = {level: find_path(level, folder) for level in levels}
    if not all(path.exists() for path in paths.values()):
        _make_libraries(paths)
        for old in set(folder.glob("kernels-*.so")) - set(paths.values()):
            old.unlink()
    return list(paths.values())


def _make_libraries(paths: dict[str, Path]) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        _finish(_start_process(work, "--kinds", {}))
        compilers = {level: _start_process(work, level, _describe_target(level)) for level in paths}
        for compiler in compilers.values():
            _finish(compiler)
        for level, path in paths.items():
            _link(sorted((work / level).glob("*.o")), path)


def _describe_target(level: str) -> dict[str, str]:
    cpu, features = TARGETS[level]
    return {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}


def _start_process(work: Path, task: str, target: dict[str, str]) -> "subprocess.Popen[str]":
    """Start a task of its own: to run the examples, or to compile for a level."""
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(work / f"numba-{task}"),
        "NUMBA_DISABLE_INTEL_SVML": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE.parent), *sys.path])),
        KERNELS_VARIABLE: "numba",
        **target,
    }
    command = [sys.executable, "-m", "n4ax.kernels", "--task", task, str(work)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def _finish(process: "subprocess.Popen[str]") -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise BuildError(f"the kernels could not be compiled:\n{errors}")


def _link(objects: list[Path], path: Path) -> None:
    linker = next(filter(shutil.which, LINKERS), None)
    if linker is None:
        raise BuildError(f"there is no linker here: one of {', '.join(LINKERS)} is needed")
    # A build ID would be that of the objects, whose symbols have names by chance.
    to_linker = "" if linker == "ld" else "-Wl,"
    options = ["-shared", "-s", f"{to_linker}--build-id=none"]
    options += [] if linker == "ld" else ["-nostdlib"]
    finished = path.with_suffix(".new")
    command = [linker, *options, "-o", str(finished), *map(str, objects)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{linker} could not make the library:\n{done.stderr}")
    finished.replace(path)


# ---- in a process that runs the examples -------------------------------------------------------


def keep_kinds(path: Path) -> None:
    """Run the examples, and keep the types of the arguments that every kernel was called with.

    The machine code of a level may be for other processors than this one, so that it is not run.
    """
    run_examples()
    path.write_bytes(pickle.dumps(list(find_entries())))


def run_examples() -> None:
    """Run the engines on small images, so that numba compiles what images of any kind need."""
    import numpy as np

    from n4ax.api import fit, n4
    from n4ax.engines.cpu.kernels import team

    image = np.random.default_rng(0).gamma(3, 40, (56, 48, 40))
    weights = np.ones(image.shape, np.float32)
    for own in ({}, *list_arithmetics_of_itk()):
        for bins in (64, 200, 1000):  # the Fourier transforms of ITK have passes of three kinds
            n4(image, iters=(1,), nbins=bins, **own)
        for given in (image, image.astype(np.float32)):
            result = fit(given, weights=weights, iters=(2, 2), conv_threshold=1e-9, **own)
            assert result.log_bias.shape == image.shape
            assert len(result.convergence[0]) == 2
        fit(image, iters=(2,), convergence="exact", **own)
        # Here the field changes so little in the end that the measure is summed by pieces.
        flat = np.full(image.shape, 100.0) + image * 1e-3
        assert fit(flat, mask="all", iters=(20,), conv_threshold=1e-9, **own).convergence
    table = np.zeros(team.TABLE, np.int64)  # a job without pieces
    team.lead(table.ctypes.data)
    team.serve(table.ctypes.data, 1)


def list_arithmetics_of_itk() -> list[dict[str, Any]]:
    """List the settings for the bits of ITK, which can be had on some machines only."""
    from n4ax.engines.itk.libm import check_platform

    try:
        check_platform()
    except ValueError:
        return []
    return [{"arithmetic": "itk", "itk_work_units": 2, "itk_version": n} for n in (5, 6)]


def find_entries() -> Iterator[tuple[str, str, str, Any]]:
    """Find what was called from Python: module and name of the kernel, and kinds and types."""
    modules = {n: m for n, m in sys.modules.items() if n.startswith("n4ax.engines.")}
    kernels = {id(k): k for m in modules.values() for k in vars(m).values() if _is_called(k)}
    for kernel in sorted(kernels.values(), key=lambda kernel: kernel.name):
        found = set()
        for types in kernel.dispatcher.overloads:
            kinds = "".join(map(_describe, types[2 if kernel.takes_range else 0 :]))
            if kinds in kernel.kinds and kinds not in found:
                found.add(kinds)
                function = kernel.py_func
                yield function.__module__, function.__name__, kinds, types
        if found != set(kernel.kinds):
            raise BuildError(f"{kernel.name} is called with {kernel.kinds}; compiled is {found}")


def _is_called(value: object) -> bool:
    return isinstance(value, Kernel) and bool(value.kinds)


def _describe(kind: Any) -> str:
    """The kind of an argument of one of numba's types; the inverse of ``lay_out``."""
    from numba import types

    if isinstance(kind, types.BaseTuple):
        return "".join(map(_describe, kind))
    if isinstance(kind, types.Array):
        from numba.np.numpy_support import as_dtype

        return f"{as_dtype(kind.dtype).str[1:]}{kind.ndim}" if kind.layout == "C" else "?"
    names = {types.int64: "i", types.boolean: "b", types.float64: "d", types.float32: "s"}
    return names.get(kind, "?")


# ---- in a process that compiles ----------------------------------------------------------------


def write_objects(kinds: Path, folder: Path) -> None:
    """Compile all kernels, and write an object file for each entry, and one for the runtime."""
    import llvmlite.binding as llvm

    folder.mkdir()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"]
    triple = llvm.get_process_triple()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default"
    )
    runtime = llvm.parse_assembly(RUNTIME.format(triple=triple))
    (folder / "runtime.o").write_bytes(machine.emit_object(runtime))
    for number, (module, name, called, types) in enumerate(pickle.loads(kinds.read_bytes())):
        kernel: Kernel = getattr(import_module(module), name)
        kernel.dispatcher.compile(types)
        overload = kernel.dispatcher.overloads[types]
        code = _write_entry(kernel.entry_name(called), kernel.takes_range, overload)
        (folder / f"{number}.o").write_bytes(machine.emit_object(code))


def _write_entry(name: str, takes_range: bool, overload: Any) -> Any:
    """Write the code of an entry, and link it with what numba has made of the kernel."""
    import llvmlite.binding as llvm
    from llvmlite import ir
    from numba.core.registry import cpu_target

    context = cpu_target.target_context
    fndesc, signature = overload.fndesc, overload.signature
    module = context.codegen().create_library("entry").create_ir_module("entry")
    word = ir.IntType(64)
    kind = ir.FunctionType(ir.IntType(32), [word, word, word.as_pointer()])
    entry = ir.Function(module, kind, name)
    builder = ir.IRBuilder(entry.append_basic_block())
    first, stop, slots = entry.args
    reader = _SlotReader(context, builder, slots)
    given = [first, stop] if takes_range else []
    given += [reader.read(kind) for kind in signature.args[len(given) :]]
    function = context.declare_function(module, fndesc)
    status, result = context.call_conv.call_function(
        builder, function, signature.return_type, signature.args, given
    )
    reader.write_result(signature.return_type, result)
    builder.ret(status.code)
    code = llvm.parse_assembly(overload.library.get_llvm_str())
    code.link_in(llvm.parse_assembly(str(module)))
    for defined in (*code.functions, *code.global_variables):
        if not defined.is_declaration and defined.name != name:
            defined.linkage = llvm.Linkage.internal
    _drop_unused(code)
    return code


def _drop_unused(code: Any) -> None:
    """Drop the functions that numba makes for calls from Python."""
    import llvmlite.binding as llvm

    manager = llvm.create_new_module_pass_manager()
    manager.add_global_dead_code_eliminate_pass()
    options = llvm.create_pipeline_tuning_options(speed_level=0)
    machine = llvm.Target.from_default_triple().create_target_machine()
    manager.run(code, llvm.create_pass_builder(machine, options))


class _SlotReader:
    """Writes the code that reads arguments from slots, one after another."""

    def __init__(self, context: Any, builder: Any, slots: Any) -> None:
        self._context, self._builder, self._slots = context, builder, slots
        self._next = 0

    def read(self, kind: Any) -> Any:
        """The next argument, of one of numba's types."""
        from numba import types

        if isinstance(kind, types.BaseTuple):
            members = [self.read(member) for member in kind]
            return self._context.make_tuple(self._builder, kind, members)
        if isinstance(kind, types.Array):
            return self._read_array(kind)
        place = self._builder.bitcast(self._take_slot(), self._find_type(kind).as_pointer())
        value = self._builder.load(place)
        return (
            self._builder.trunc(value, value.type.__class__(1)) if kind is types.boolean else value
        )

    def _find_type(self, kind: Any) -> Any:
        return self._context.data_model_manager[kind].get_data_type()

    def _take_slot(self) -> Any:
        from llvmlite import ir

        place = self._builder.gep(self._slots, [ir.IntType(64)(self._next)])
        self._next += 1
        return place

    def _read_array(self, kind: Any) -> Any:
        """An array from its address and shape; it is C-contiguous, and its memory is Python's."""
        from llvmlite import ir
        from numba.np.arrayobj import make_array, populate_array

        builder, word = self._builder, ir.IntType(64)
        array = make_array(kind)(self._context, builder)
        data = builder.inttoptr(builder.load(self._take_slot()), array.data.type)
        shape = [builder.load(self._take_slot()) for _ in range(kind.ndim)]
        size = word(self._context.get_abi_sizeof(self._context.get_data_type(kind.dtype)))
        strides = [size]
        for length in reversed(shape[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()

    def write_result(self, kind: Any, value: Any) -> None:
        """Write the number that a kernel returns into the slot after its arguments, as float64."""
        from llvmlite import ir
        from numba import types

        if kind is types.none:
            return
        number = self._context.cast(self._builder, value, kind, types.float64)
        place = self._builder.bitcast(self._take_slot(), ir.DoubleType().as_pointer())
        self._builder.store(number, place)


def main(arguments: list[str]) -> int | str:
    """Run the command line; the result is the exit status, or a message for a failure."""
    if arguments[:1] == ["--task"]:
        task, work = arguments[1], Path(arguments[2])
        kinds = work / "kinds.pickle"
        if task == "--kinds":
            keep_kinds(kinds)
        else:
            write_objects(kinds, work / task)
        return 0
    try:
        paths = build(Path(arguments[0]) if arguments else FOLDER)
    except BuildError as error:
        return f"n4ax: no library of kernels: {error}"
    print(*paths, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
