"""Which files of this room each backend tries."""

import keras

collect_ignore = ["test_many_devices.py" if keras.config.backend() == "torch" else "test_torch_processes.py"]
