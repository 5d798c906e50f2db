"""Trees of tensors: a tensor, or dicts, lists and tuples of trees, as ``torch.utils._pytree`` knows them.

What a model takes, what it returns and what a loss compares may be such trees. Nearly always they are plain tensors,
which small networks want to be quick, so that each function looks for a plain tensor first.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from metasgd._core.private_torch import tree_flatten, tree_map, tree_unflatten

Tree: TypeAlias = Any  # a tensor, or a dict, list, tuple or named tuple of trees


def map_tensors(function: Callable[[Tensor], Any], tree: Tree) -> Tree:
    """Return a tree with ``function(tensor)`` in the place of each tensor; what is no tensor stays."""
    if isinstance(tree, Tensor):
        return function(tree)
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def with_own_containers(tree: Tree) -> Tree:
    """Return a tree of the same tensors in dicts and lists of its own, out of which a model may take entries."""
    return tree if isinstance(tree, Tensor) else map_tensors(lambda values: values, tree)


def tensors_of(tree: Tree) -> list[Tensor]:
    """Return the tensors of a tree in order."""
    return [tree] if isinstance(tree, Tensor) else [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def size_of(tree: Tree) -> int:
    """Return the size of the leading dimension of a tree's tensors, which must be the same for all."""
    return len(tree) if isinstance(tree, Tensor) else len(tensors_of(tree)[0])


def join(function: Callable[[list[Tensor]], Tensor], trees: Sequence[Tree]) -> Tree:
    """Return one tree, with ``function(tensors)`` of the tensors that have the same place in all the trees.

    Args:
        function: such as ``torch.stack`` or ``torch.cat``.
        trees: of one structure. What is no tensor is taken from the first.
    """
    if isinstance(trees[0], Tensor):
        return function(list(trees))
    leaves, structures = zip(*map(tree_flatten, trees), strict=True)
    joined = [function(list(at)) if isinstance(at[0], Tensor) else at[0] for at in zip(*leaves, strict=True)]
    return tree_unflatten(joined, structures[0])


def split(tree: Tree) -> list[Tree]:
    """Return a tree for each entry of the leading dimension, without that dimension."""
    if isinstance(tree, Tensor):
        return list(tree)
    return [map_tensors(lambda values, i=i: values[i], tree) for i in range(size_of(tree))]  # type: ignore[misc]


def form_of(tree: Tree) -> Hashable:
    """Return the structure of a tree, with the shape, dtype and device of each tensor."""
    if isinstance(tree, Tensor):
        return tree.shape, tree.dtype, tree.device
    leaves, structure = tree_flatten(tree)
    return repr(structure), *((x.shape, x.dtype, x.device) for x in leaves if isinstance(x, Tensor))


def take_apart(tree: Tree) -> tuple[list[Tensor], Callable[[Sequence[Tensor]], Tree]]:
    """Return the tensors of a tree, and a function that makes the tree of as many others."""
    if isinstance(tree, Tensor):
        return [tree], lambda tensors: tensors[0]
    leaves, structure = tree_flatten(tree)

    def rebuild(tensors: Sequence[Tensor]) -> Tree:
        others = iter(tensors)
        return tree_unflatten([next(others) if isinstance(x, Tensor) else x for x in leaves], structure)

    return [x for x in leaves if isinstance(x, Tensor)], rebuild


def as_tree(output: Any) -> Tree:
    """Return a model's output as a tree; a mapping that ``torch.utils._pytree`` does not know becomes a dict.

    Raises:
        ValueError: an object of another kind.
    """
    if isinstance(output, Tensor):
        return output
    leaves = tree_flatten(output)[0]
    if len(leaves) == 1 and leaves[0] is output and isinstance(output, Mapping):
        return as_tree(dict(output))
    for leaf in leaves:
        if not isinstance(leaf, Tensor) and not isinstance(leaf, (type(None), bool, int, float, str)):
            raise ValueError(
                f"the model returns an object of class {type(leaf).__name__}, which is no tensor, dict or tuple; "
                "predictions of several tasks cannot be put together, so return one of these, or make the class known "
                "by torch.utils._pytree.register_pytree_node"
            )
    return output


def check_tree(name: str, tree: Tree) -> None:
    """Refuse what is no tree of tensors, by its name.

    Raises:
        ValueError: something in it is no tensor, or there is nothing in it.
    """
    if isinstance(tree, Tensor):
        return
    leaves = tree_flatten(tree)[0]
    if not leaves:
        raise ValueError(f"{name} is an empty {type(tree).__name__}; it needs at least one tensor")
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            what = "is" if leaf is tree else f"is a {type(tree).__name__} that holds"
            kind = "None" if leaf is None else f"a {type(leaf).__module__.split('.')[0]}.{type(leaf).__qualname__}"
            remedy = (
                "torch.as_tensor(array, dtype=...) makes a tensor of it"
                if hasattr(leaf, "__array__")
                else "a tensor, or a dict, list or tuple of tensors is needed"
            )
            raise ValueError(f"{name} {what} {kind.replace('builtins.', '')}; {remedy}")


def check_same_structure(what: str, support: Tree, query: Tree) -> None:
    """Refuse inputs, or targets, of a support and a query set that are trees of different structure.

    Raises:
        ValueError: they are.
    """
    if isinstance(support, Tensor) and isinstance(query, Tensor):
        return
    if tree_flatten(support)[1] != tree_flatten(query)[1]:
        first, second = picture_of(support), picture_of(query)
        raise ValueError(f"support {what} are {first}, query {what} {second}; they must be alike")


def picture_of(tree: Tree) -> str:
    """Return a tree as text, with a star for each tensor."""
    return str(tree_map(lambda _: Star(), tree))


class Star:
    """Stands for a tensor in the text of a tree."""

    def __repr__(self) -> str:
        return "*"
