"""Scans on many machines: Ray runs the shards, and what is finished stays finished."""

from lsa_onnx.cluster.options import ClusterOptions
from lsa_onnx.cluster.run import scan_on_cluster

__all__ = ["ClusterOptions", "scan_on_cluster"]
