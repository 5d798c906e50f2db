"""Convolution as a product with a matrix of patches, which a GPU computes for many tasks at once (chapter 10).

Under vmap every task has filters of its own, and a convolution becomes a grouped one, for which libraries have slow
kernels only. A product of matrices, one for each task, is what a GPU does best, also in the derivatives, which are
products again. The patches fill as many times the pictures' memory as a filter has places.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd._pooling import Size, pair


def conv2d_by_products(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """Return ``F.conv2d``, as a product where filters move by one pixel; channels lie side by side in the result."""
    is_plain = input.ndim == 4 and groups == 1 and pair(stride) == pair(dilation) == (1, 1)
    if not is_plain or isinstance(padding, str):
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    down, right = pair(padding)
    x = F.pad(input.permute(0, 2, 3, 1), (0, 0, right, right, down, down))  # (examples, rows, columns, channels)
    height, width = weight.shape[2:]
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    places = [x[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)]
    filters = weight.permute(2, 3, 1, 0).flatten(0, 2)  # (places * channels, filters)
    y = torch.cat(places, -1).flatten(0, 2) @ filters
    y = y if bias is None else y + bias
    return y.unflatten(0, (len(x), rows, columns)).permute(0, 3, 1, 2)
