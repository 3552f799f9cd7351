"""Work in processes of its own: forks of one that has imported the libraries, which takes seconds, and made nothing."""

import json
import os
import socket
import sys
import traceback

import keras

import kzoo


def forked(work):
    """Do some work in a process of its own; its number."""
    sys.stdout.flush()  # what is not printed yet the fork would print, too
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def ended(child):
    """How a process of its own has ended, minus the signal that ended it."""
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def in_fork(work):
    """The same of one that begins now."""
    return ended(forked(work))


def two_forked(work, devices=1):
    """Do some work in two processes that train together, each with so many devices of the CPU on jax; their numbers."""
    with socket.socket() as one, socket.socket() as two:
        places = []
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
            places.append(f"127.0.0.1:{free.getsockname()[1]}")
    host, port = places[0].split(":")
    meeting = {
        "torch": {"WORLD_SIZE": "2", "MASTER_ADDR": host, "MASTER_PORT": port},
        "jax": {"JAX_COORDINATOR_ADDRESS": places[0], "JAX_NUM_PROCESSES": "2"},
        "tensorflow": {},
    }[keras.config.backend()]

    def one_of(rank):
        task = {"cluster": {"worker": places}, "task": {"type": "worker", "index": rank}}
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "JAX_PROCESS_ID": str(rank), "TF_CONFIG": json.dumps(task)}
        os.environ.update(meeting | own)
        if keras.config.backend() == "jax":
            import jax

            jax.config.update("jax_num_cpu_devices", devices)
        with kzoo.scale.start():
            work()

    return [forked(lambda rank=rank: one_of(rank)) for rank in (0, 1)]


def in_two(work):
    """How two processes that train together have ended."""
    return [ended(child) for child in two_forked(work)]


def on_devices(number, work):
    """How one process has ended that has so many devices of the CPU."""

    def split():
        if keras.config.backend() == "jax":
            import jax

            jax.config.update("jax_num_cpu_devices", number)
        elif number > 1:
            import tensorflow as tf

            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
        with kzoo.scale.start(number):
            work()

    return in_fork(split)
