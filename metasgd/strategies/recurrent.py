"""Recurrent layers and cells by sums and products, since PyTorch's fail for a batch of tasks (chapter 9).

Under ``vmap``, ``torch.lstm`` and the others of its kind fail in most cases, or succeed with one dtype or in one
direction of derivatives alone. Those here have the arguments and the results of PyTorch's, and derivatives of any
order. A step of a cell is a function ``(gates of the input, state, weights) -> state``, where a state is a tuple of
tensors of shape (batch, features) with the output first.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd._core.private_torch import PACK_PADDED_SEQUENCE

State = tuple[Tensor, ...]


class Weights(NamedTuple):
    """The weights of one layer in one direction; ``projection`` is that of an LSTM with ``proj_size``."""

    input: Tensor
    hidden: Tensor
    input_bias: Tensor | None = None
    hidden_bias: Tensor | None = None
    projection: Tensor | None = None

    def gates_of_input(self, x: Tensor) -> Tensor:
        """Return what the input contributes to the gates."""
        return F.linear(x, self.input, self.input_bias)

    def gates_of_hidden(self, h: Tensor) -> Tensor:
        """Return what the state contributes to the gates."""
        return F.linear(h, self.hidden, self.hidden_bias)


Step = Callable[[Tensor, State, Weights], State]


def lstm_step(gates: Tensor, state: State, weights: Weights) -> State:
    """Return the output and the cell state of an LSTM (Hochreiter and Schmidhuber 1997) after one step."""
    h, c = state
    i, f, g, o = (gates + weights.gates_of_hidden(h)).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return h if weights.projection is None else F.linear(h, weights.projection), c


def gru_step(gates: Tensor, state: State, weights: Weights) -> State:
    """Return the output of a gated recurrent unit (Cho et al. 2014) after one step."""
    (h,) = state
    (r, z, n), (hr, hz, hn) = gates.chunk(3, 1), weights.gates_of_hidden(h).chunk(3, 1)
    n = (n + (r + hr).sigmoid() * hn).tanh()
    return (n + (z + hz).sigmoid() * (h - n),)


def tanh_step(gates: Tensor, state: State, weights: Weights) -> State:
    """Return the output of a plain recurrent layer with tanh after one step."""
    return ((gates + weights.gates_of_hidden(state[0])).tanh(),)


def relu_step(gates: Tensor, state: State, weights: Weights) -> State:
    """Return the output of a plain recurrent layer with ReLU after one step."""
    return ((gates + weights.gates_of_hidden(state[0])).relu(),)


def layer_by(step: Step) -> Callable[..., Any]:
    """Return a function like ``torch.lstm`` or ``torch.gru`` that takes the given steps."""

    def layer(
        input: Tensor,
        hx: Any,
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool = False,
    ) -> Any:
        start = hx if isinstance(hx, tuple | list) else (hx,)
        directions = 2 if bidirectional else 1
        size = len(params) // (num_layers * directions)
        x, ends = input.transpose(0, 1) if batch_first else input, []
        for number in range(num_layers):
            outputs = []
            for direction in range(directions):
                place = number * directions + direction
                weights = weights_of(params[place * size : (place + 1) * size], has_biases)
                output, end = run(step, x, tuple(part[place] for part in start), weights, backwards=direction == 1)
                outputs.append(output)
                ends.append(end)
            x = torch.cat(outputs, -1)
            if dropout and train and number < num_layers - 1:
                x = F.dropout(x, dropout)
        states = (torch.stack(part) for part in zip(*ends, strict=True))
        return (x.transpose(0, 1) if batch_first else x, *states)

    return layer


def weights_of(params: Sequence[Tensor], has_biases: bool) -> Weights:
    """Return the weights of one layer in one direction from PyTorch's list of them."""
    biases = params[2:4] if has_biases else (None, None)
    rest = params[4:] if has_biases else params[2:]
    return Weights(params[0], params[1], *biases, *rest)


def run(step: Step, x: Tensor, state: State, weights: Weights, *, backwards: bool) -> tuple[Tensor, State]:
    """Return the outputs of all steps, (steps, batch, features), and the last state."""
    gates = weights.gates_of_input(x)
    outputs = []
    for moment in reversed(range(len(x))) if backwards else range(len(x)):
        state = step(gates[moment], state, weights)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs), state


def cell_by(step: Step) -> Callable[..., Any]:
    """Return a function like ``torch.lstm_cell`` or ``torch.gru_cell`` that takes the given step."""

    def cell(
        input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
    ) -> Any:
        weights = Weights(w_ih, w_hh, b_ih, b_hh)
        state = step(weights.gates_of_input(input), tuple(hx) if isinstance(hx, tuple | list) else (hx,), weights)
        return state if len(state) > 1 else state[0]

    return cell


def refuse_packed_sequences(*_: Any) -> None:
    """Refuse to pack sequences of different lengths.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(
        "a packed sequence has lengths of its own, which a batch of tasks cannot have; use strategy='threads', or "
        "sequences of one length"
    )


class _WithoutCudnn:
    """Turns cuDNN off while at least one thread is inside; the last one to leave sets it back as it was.

    The setting belongs to the process. If each thread set it back by itself, to what it had found, one that came while
    another was inside would turn cuDNN off for good.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside, self.before = 0, True

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.before = torch.backends.cudnn.enabled
                torch.backends.cudnn.enabled = False
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                torch.backends.cudnn.enabled = self.before


_cudnn_off = _WithoutCudnn()


def without_cudnn(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a recurrent layer of PyTorch by its own kernels: cuDNN's, on an NVIDIA GPU, have no second derivative."""

    def layer(*args: Any, **kwargs: Any) -> Any:
        with _cudnn_off:
            return function(*args, **kwargs)

    return layer


# For one task at a time. The cells have kernels of PyTorch's own.
DIFFERENTIABLE_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    layer: without_cudnn(layer) for layer in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
}
RECURRENT_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.lstm: layer_by(lstm_step),
    torch.gru: layer_by(gru_step),
    torch.rnn_tanh: layer_by(tanh_step),
    torch.rnn_relu: layer_by(relu_step),
    torch.lstm_cell: cell_by(lstm_step),
    torch.gru_cell: cell_by(gru_step),
    torch.rnn_tanh_cell: cell_by(tanh_step),
    torch.rnn_relu_cell: cell_by(relu_step),
    PACK_PADDED_SEQUENCE: refuse_packed_sequences,
}
