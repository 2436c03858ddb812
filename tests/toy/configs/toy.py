"""A few steps of the toy network on small images."""

from matting_jax.config import defaults


def get_config():
    config = defaults()
    config.name = "toy"
    config.model.features = 8
    config.task.name = "toy"
    config.task.weight = 2.0
    config.steps = 2
    config.batch_size = 2
    config.optimizer.update(name="sgd", learning_rate=0.1, momentum=0.0)
    config.optimizer.module_rates = dict(head=0.5)
    config.data.foreground_colours = "as_is"
    config.data.crop.update(size=32, rescale=(40, 60))
    config.test_time.multiple = 4
    config.log_every = config.evaluate_every = config.save_every = 1
    config.allocator = False
    return config
