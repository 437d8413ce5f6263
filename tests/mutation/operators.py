"""What is changed: mutmut's operators, and what they leave out of the wiring of this program."""

import re

import libcst as cst
from mutmut.mutation.mutators import OPERATORS_TYPE, mutation_operators, operator_arg_removal

# Words that stand for each other: the other split and the other modality are the mistakes that cost a result.
SIBLINGS = (("train", "valid", "test"), ("t", "v", "a"), ("text", "vision", "audio"))

TYPING = {"dataclass", "overload", "override", "final", "abstractmethod", "runtime_checkable"}


def is_wording(node):
    """Whether a node is text for a reader: two words with a blank between them."""
    match node:
        case cst.SimpleString():
            return bool(re.search(r"\w[.,:;]? \(?\w", node.value))
        case cst.FormattedString():
            text = "".join(part.value if isinstance(part, cst.FormattedStringText) else "0" for part in node.parts)
            return bool(re.search(r"\w[.,:;]? \(?\w", text))
        case cst.ConcatenatedString():
            return is_wording(node.left) or is_wording(node.right)
    return False


def argument_but_wording(node):
    """mutmut's: an argument becomes None, or goes; what is said to a reader stays."""
    for mutated in operator_arg_removal(node):
        kept = {id(argument) for argument in mutated.args}
        if not any(is_wording(argument.value) for argument in node.args if id(argument) not in kept):
            yield mutated


def sibling(node):
    """`"train"` becomes `"valid"`: a value that is as good for every check of types."""
    for words in SIBLINGS:
        if node.raw_value in words:
            other = words[(words.index(node.raw_value) + 1) % len(words)]
            yield node.with_changes(value=node.quote + other + node.quote)


def dropped_statement(node):
    """`model.eval()` goes."""
    if isinstance(node.value, cst.Call):
        yield cst.Pass()


def dropped_raise(_):
    """A check that says nothing."""
    yield cst.Pass()


def dropped_decorator(node):
    """`@torch.no_grad()` goes; what only types or declares stays."""
    name = node.decorator.func if isinstance(node.decorator, cst.Call) else node.decorator
    if (name.attr if isinstance(name, cst.Attribute) else name).value not in TYPING:
        yield cst.RemoveFromParent()


def dropped_entry(node):
    """An entry of a dict or set goes: a fact that no longer decides."""
    for index in range(len(node.elements)):
        if len(node.elements) > 1:
            yield node.with_changes(elements=[*node.elements[:index], *node.elements[index + 1 :]])


def dropped_subscript(node):
    """`labels[rows]` becomes `labels`; a key of a dict stays, for anything else fails at once."""
    words = (cst.SimpleString, cst.FormattedString)
    if not any(isinstance(getattr(part.slice, "value", None), words) for part in node.slice):
        yield node.value


def negated(condition):
    """The other branch of an `if`, `while` or filter; for a comparison or a `not` mutmut has its own."""
    if not isinstance(condition, cst.Comparison | cst.BooleanOperation | cst.UnaryOperation):
        yield cst.UnaryOperation(cst.Not(), condition.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()]))


OPERATORS: OPERATORS_TYPE = [
    *(pair for pair in mutation_operators if pair[1] is not operator_arg_removal),
    (cst.Call, argument_but_wording),
    (cst.SimpleString, sibling),
    (cst.Expr, dropped_statement),
    (cst.Raise, dropped_raise),
    (cst.Decorator, dropped_decorator),
    (cst.Dict, dropped_entry),
    (cst.Set, dropped_entry),
    (cst.Subscript, dropped_subscript),
]
