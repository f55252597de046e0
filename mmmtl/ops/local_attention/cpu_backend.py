"""Local attention on the CPU in C++ with OpenMP, compiled on first use and cached."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.logging import print_log
from torch import Tensor

from .contract import empty_gradients, empty_outputs

# If set to 1, this backend is neither compiled nor used.
DISABLE_VARIABLE = 'MMMTL_NO_CPU_EXTENSION'

_SOURCES = Path(__file__).parent / 'csrc'
_INTERFACE = 1  # mmmtl_local_attention_interface() in csrc
# No -ffast-math: masked logits are infinite, and linking with it changes the rounding of the whole process.
_COMPILER_FLAGS = ['-std=c++20', '-fPIC', '-O3', '-fopenmp', '-ffp-contract=fast', '-Wno-psabi']
_LINKER_FLAGS = ['-fopenmp', '-Wl,--as-needed']
_DTYPES = {torch.float64: 0, torch.float32: 1, torch.bfloat16: 2, torch.float16: 3}
_INSTRUCTION_SETS = {'AVX2': 1, 'AVX512': 2}


def instruction_set() -> str:
    """Return 'AVX512', 'AVX2' or 'generic'; `ATEN_CPU_CAPABILITY` lowers it for PyTorch and for this backend."""
    capability = torch.backends.cpu.get_cpu_capability()
    return capability if capability in _INSTRUCTION_SETS else 'generic'


def missing() -> str:
    """Return why this backend cannot run on this machine; empty if it can. The first call may compile it."""
    return _library_or_reason()[1]


# As torch.compiler.assume_constant_result does, which would import torch.compile's machinery into every program.
missing._dynamo_marked_constant = True  # type: ignore[attr-defined]


def unsupported(query: Tensor, key: Tensor, value: Tensor, window: int) -> str:
    """Return why this backend cannot run these tensors; empty if it can."""
    for tensor in (query, key, value):
        if tensor.device.type != 'cpu':
            return f'it needs CPU tensors, not {tensor.device.type}'
        if tensor.dtype not in _DTYPES:
            return f'it needs float64, float32, bfloat16 or float16, not {tensor.dtype}'
    return ''


def forward(
    query: Tensor, key: Tensor, value: Tensor, *, window: int, scale: float, border: str
) -> tuple[Tensor, Tensor]:
    """Compute `Kernel.forward`."""
    out, weights = empty_outputs(query, key, value, window)
    arguments = _problem(query, weights, value.shape[1], window, border == 'zero')
    for tensor in (query, key, value, out):
        arguments += _described(tensor)
    _run('forward', [*arguments, weights.data_ptr()], scale, weights)
    return out, weights


def backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, *, window: int, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `Kernel.backward`."""
    gradients = empty_gradients(query, key, value)
    weights = weights.contiguous()  # a no-op on what `forward` returned
    grad_logits = torch.empty_like(weights)
    arguments = _problem(query, weights, value.shape[1], window, False)
    for tensor in (grad, query, key, value, *gradients):
        arguments += _described(tensor)
    _run('backward', [*arguments, weights.data_ptr(), grad_logits.data_ptr()], scale, weights)
    return gradients


def _problem(query: Tensor, weights: Tensor, depth: int, window: int, zero_border: bool) -> list[int]:
    """Return the fields of struct Problem in csrc/tensors.h."""
    images, channels, height, width = query.shape
    in_double = weights.dtype == torch.float64
    return [images, height, width, channels, depth, window, zero_border, in_double, torch.get_num_threads()]


def _described(tensor: Tensor) -> tuple[int, ...]:
    """Return the fields of struct Tensor in csrc/tensors.h."""
    return tensor.data_ptr(), *tensor.stride(), _DTYPES[tensor.dtype]


def _run(name: str, arguments: list[int], scale: float, weights: Tensor) -> None:
    library, reason = _library_or_reason()
    if library is None:
        raise RuntimeError(f"local attention: backend 'cpu' cannot run: {reason}")
    if weights.numel() == 0:
        return
    function = getattr(library, f'mmmtl_local_attention_{name}')
    packed = (ctypes.c_int64 * len(arguments))(*arguments)
    function(packed, ctypes.c_double(scale), _INSTRUCTION_SETS.get(instruction_set(), 0))


# --- building ----------------------------------------------------------------------------------------------------


@cache
def _library_or_reason() -> tuple[ctypes.CDLL | None, str]:
    """Load the installed library or the cached one, or compile it."""
    if os.environ.get(DISABLE_VARIABLE, '0') not in ('', '0'):
        return None, f'{DISABLE_VARIABLE} is set'
    try:
        return _installed() or _from_cache(), ''
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        reason = _summary(error)
    print_log(
        f"local attention: backend 'cpu' cannot run: {reason}; 'torch' replaces it, which is slower",
        'current',
        logging.WARNING,
    )
    return None, reason


def _installed() -> ctypes.CDLL | None:
    """Load the library that `MMMTL_BUILD_EXTENSIONS=1 pip install` compiled, if there is one of this interface."""
    spec = importlib.util.find_spec('mmmtl.ops.local_attention._cpu')
    if spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)
    return library if library.mmmtl_local_attention_interface() == _INTERFACE else None


def _from_cache() -> ctypes.CDLL:
    if os.name != 'posix':
        raise RuntimeError('it needs GCC or Clang on Linux or WSL')
    from torch.utils import cpp_extension

    name = f'mmmtl_local_attention_{_digest()}'
    root = os.environ.get('TORCH_EXTENSIONS_DIR') or cpp_extension.get_default_build_root()
    directory = Path(root) / name
    directory.mkdir(parents=True, exist_ok=True)
    library = directory / f'{name}.so'
    if not library.exists():
        with _locked(directory / 'mmmtl.lock'):
            if not library.exists():
                _compile(library)
    return ctypes.CDLL(str(library))


def _compile(library: Path) -> None:
    compiler = find_compiler()
    if compiler is None:
        wanted = os.environ.get('CXX') or 'a C++ compiler'
        raise RuntimeError(f'{wanted}, which compiles it, is not installed (install g++ or clang++)')
    print_log(f'local attention: compiling the CPU backend in {library.parent} (once, about 20 s)', 'current')
    with TemporaryDirectory(dir=library.parent) as folder, ThreadPoolExecutor() as threads:
        sources = sorted(_SOURCES.glob('*.cpp'))
        objects = [f'{folder}/{source.stem}.o' for source in sources]
        commands = [
            [*compiler, *_COMPILER_FLAGS, '-c', str(source), '-o', target]
            for source, target in zip(sources, objects, strict=True)
        ]
        list(threads.map(_run_tool, commands))
        linked = f'{folder}/{library.name}'
        _run_tool([*compiler, '-shared', *objects, *_LINKER_FLAGS, '-o', linked])
        os.replace(linked, library)


def find_compiler() -> list[str] | None:
    """Return the words of the command in `CXX`, or the C++ compiler in PATH; None if there is none.

    Raises:
        ValueError: a quotation in `CXX` does not end.
    """
    commands = [shlex.split(os.environ['CXX'])] if os.environ.get('CXX') else [['c++'], ['g++'], ['clang++']]
    return next((command for command in commands if command and shutil.which(command[0])), None)


def _run_tool(command: Sequence[str]) -> None:
    """Run a compiler or linker; raise a RuntimeError with what it says if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, errors='replace')
    if done.returncode:
        raise RuntimeError(done.stderr or done.stdout or f'{command[0]} failed with {done.returncode}')


def _digest() -> str:
    """Return a hash of everything that the compiled library depends on."""
    digest = hashlib.sha256(repr((_COMPILER_FLAGS, _LINKER_FLAGS, platform.machine(), sys.platform)).encode())
    for path in sorted(_SOURCES.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system releases when the process ends, however it ends."""
    import fcntl

    with path.open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _summary(error: Exception) -> str:
    """Return the most informative line of a compiler's output."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = next((line for line in lines if 'error' in line or 'cannot find' in line), lines[0])
    return line if len(line) < 200 else f'{line[:200]} ...'
