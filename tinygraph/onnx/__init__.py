"""ONNX in and out: protobuf, opsets and names. What each operator means is said in its op's room."""
