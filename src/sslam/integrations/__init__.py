"""The model behind the interfaces of others: transformers, HEAR, X-ARES, ONNX."""
