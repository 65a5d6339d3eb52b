"""The one prediction pass of a model, and the table it is stored in."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import nn

from medunlearn.batches import Images


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: Images,
    batch_size: int = 256,
    samples: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Logits of images of the cohort, in order, in evaluation mode and single precision.

    Args:
        model: From images to logits; its mode is put back afterwards.
        images: The cohort's images, never augmented here.
        batch_size: Images per forward pass; more leave the processor's cache and take longer.
        samples: Which images; default: all of the cohort.

    Returns:
        (images, classes), float32.
    """
    training = model.training
    model.eval()
    every = torch.arange(len(images.labels)) if samples is None else torch.as_tensor(samples)
    rows = every.to(images.labels.device)
    logits, done = torch.empty(0), 0
    for batch in rows.split(batch_size):
        found = model(images.inputs(batch))
        if not len(logits):  # one for all: small ones kept of each batch would split up the memory
            logits = found.new_empty(len(rows), found.shape[1])
        logits[done : done + len(batch)] = found
        done += len(batch)
    model.train(training)
    return logits.float().cpu().numpy()


def write_predictions(
    path: Path,
    model_key: str,
    logits: NDArray[np.float32],
    samples: NDArray[np.int64] | None = None,
) -> None:
    """Write one model's predictions: columns ``model_key``, ``sample``, ``logits``.

    Args:
        path: A parquet file.
        model_key: The model's name in the store.
        logits: (samples, classes).
        samples: Ids of the samples; default: the row numbers.
    """
    ids = np.arange(len(logits)) if samples is None else samples
    flat = pa.array(np.ascontiguousarray(logits).ravel(), pa.float32())
    table = pa.table(
        {
            "model_key": pa.array([model_key] * len(ids)).dictionary_encode(),
            "sample": pa.array(ids.astype(np.int32)),
            "logits": pa.FixedSizeListArray.from_arrays(flat, logits.shape[1]),
        }
    )
    pq.write_table(table, path)


def read_predictions(path: Path) -> NDArray[np.float32]:
    """The logits of ``write_predictions``, (samples, classes), in the order written."""
    logits = pq.read_table(path, columns=["logits"])["logits"].combine_chunks()
    values: NDArray[np.float32] = logits.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(logits), -1)
