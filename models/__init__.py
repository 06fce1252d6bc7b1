"""The language model with mapped concepts in its input: configuration, prompts, packing, the model, its folder."""

if __name__ == "models":
    raise ModuleNotFoundError("this folder is the package meg.models: install the repository and write `from meg.models ...`.")
