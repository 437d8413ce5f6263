"""Which shapes of matrix products there are."""

from torch.utils._python_dispatch import TorchDispatchMode


class Shapes(TorchDispatchMode):
    """Takes note of the shapes of all matrix products."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, called, types, arguments=(), keywords=None):
        if called.overloadpacket.__name__ in ("mm", "addmm", "bmm", "baddbmm"):
            self.found.add((called.overloadpacket.__name__, *(tuple(x.shape) for x in arguments)))
        return called(*arguments, **(keywords or {}))
