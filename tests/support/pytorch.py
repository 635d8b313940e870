"""What makes a small real training by PyTorch cheap."""

# Its optimizers load PyTorch's compiler, three seconds, to ask it for nothing.
NO_COMPILER = """
import sys, types
torch._dynamo = sys.modules["torch._dynamo"] = types.SimpleNamespace(
    disable=lambda function, *_, **__: function, graph_break=bool)
"""
