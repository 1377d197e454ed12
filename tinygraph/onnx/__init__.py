"""ONNX in and out: protobuf, opsets and names. What each operator means is said in its op's room."""

OPSET = 20  # the operator set that `to_onnx` of every op writes
OLDEST_OPSET = 6  # the first that is read as a whole; of older ones, the operators that are still the same then
DEFAULT_DOMAIN = ("", "ai.onnx")  # two names of the operator set of the standard
