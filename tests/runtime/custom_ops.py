"""A library with one custom operator, compiled where there is a compiler, and a model that needs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests import graphs
from tests.graphs import node, value

if TYPE_CHECKING:
    import onnx

DOMAIN = "lsa.tests"

# ONNX Runtime promises never to move the functions of version 1 of its interface, so that their places do
# for its headers. The operator gives twice its float input.
_SOURCE = """
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef const void* (*Get)(uint32_t);
typedef void* (*Call1)(const void*, void*);
typedef void* (*Call2)(void*, const void*);
typedef void* (*Input)(const void*, size_t, void*);
typedef void* (*Output)(void*, size_t, const int64_t*, size_t, void*);
typedef void* (*Dims)(const void*, int64_t*, size_t);
typedef void (*Release)(void*);
enum { CREATE_DOMAIN = 26, ADD_OPERATOR, ADD_DOMAIN, DATA = 51, RANK = 61, DIMENSIONS, COUNT = 64, SHAPE,
       INPUT = 90, OUTPUT, RELEASE = 99 };

static void* const* api;

static void* create(const void* op, const void* given, const void* info) { return malloc(1); }
static const char* name(const void* op) { return "Double"; }
static const char* provider(const void* op) { return NULL; }
static int type(const void* op, size_t index) { return 1; }
static size_t one(const void* op) { return 1; }
static int required(const void* op, size_t index) { return 0; }

static void compute(void* kernel, void* context) {
  void *x, *y, *shape;
  float *from, *to;
  int64_t sizes[8];
  size_t rank, count;
  ((Input)api[INPUT])(context, 0, &x);
  ((Call1)api[SHAPE])(x, &shape);
  ((Call1)api[RANK])(shape, &rank);
  ((Dims)api[DIMENSIONS])(shape, sizes, rank);
  ((Call1)api[COUNT])(shape, &count);
  ((Release)api[RELEASE])(shape);
  ((Output)api[OUTPUT])(context, 0, sizes, rank, &y);
  ((Call1)api[DATA])(x, &from);
  ((Call1)api[DATA])(y, &to);
  for (size_t i = 0; i < count; ++i) to[i] = 2 * from[i];
}

static struct {
  uint32_t version;
  void *create, *name, *provider, *input, *inputs, *output, *outputs, *compute, *destroy;
  void *input_kind, *output_kind, *later[32];
} operator = {8, create, name, provider, type, one, type, one, compute, free, required, required};

void* RegisterCustomOps(void* options, const void* const* base) {
  void *domain, *status;
  api = ((Get)base[0])(1);
  if ((status = ((Call1)api[CREATE_DOMAIN])("lsa.tests", &domain))) return status;
  if ((status = ((Call2)api[ADD_OPERATOR])(domain, &operator))) return status;
  return ((Call2)api[ADD_DOMAIN])(options, domain);
}
"""


def build_library(folder: Path) -> Path:
    """Compile the library; the test is skipped where that cannot be."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler (cc) for Linux here, of which the library is made")
    source, library = folder / "double.c", folder / "libdouble.so"
    source.write_text(_SOURCE, encoding="ascii")
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", library, source], check=True)
    return library


def doubling_net() -> onnx.ModelProto:
    """y = relu(2 · (x · w)), of samples of 5 values; one weight is 1, the others are 0."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Double", ["h"], ["d"], domain=DOMAIN),
        node("Relu", ["d"], ["y"]),
    ]
    return graphs.model(
        nodes,
        [value("x", ["N", 5])],
        [value("y", ["N", 3])],
        {"w": np.eye(5, 3, dtype=np.float32)},
        imports={DOMAIN: 1},
    )
