"""The fields of a config that general code reads, with their defaults."""

from __future__ import annotations

from ml_collections import ConfigDict


def defaults() -> ConfigDict:
    """Returns every field that general code reads, with the default of most recipes.

    A recipe changes what its paper says. It adds the fields that only its network, task or crop
    rule reads, in `model`, `task`, `synthesis`, `data.crop` and `test_time`. Source of
    docs/configuration.md.
    """
    config = ConfigDict()
    config.name = ""  # network, a name of matting_jax.models.NETWORKS
    config.seed = 0  # seed of initial weights, data order and augmentation
    config.steps = 100_000  # optimizer steps
    config.batch_size = 16  # samples per step, over all devices
    config.accumulate = 1  # gradient accumulation: micro-batches per step, to save memory
    # True: keep only results of convolutions for the backward pass, and compute the rest again
    config.rematerialise = False
    config.compute_dtype = "float32"  # "float32", or "bfloat16"; also to evaluate and predict
    config.synchronise_statistics = True  # compute batch statistics over all devices
    config.freeze_statistics = False  # keep the running statistics of BatchNorm, for fine-tuning
    # decay of the moving average of the parameters, which is then evaluated and saved too; 0: none
    config.ema_decay = 0.0
    config.log_every = 100  # steps between two log lines; 0: never
    config.evaluate_every = 5000  # steps between two evaluations; 0: never
    # before the first step: "previews" of test images of one size, which compiles the network once;
    # "all": score and show the test images; "none"
    config.evaluate_first = "previews"
    config.save_every = 1000  # steps between two checkpoints; 0: only at the end
    config.preview_images = 6  # test images in a preview
    # (FIRST, LAST): trace these steps by jax.profiler into WORKDIR/profile; (): none
    config.profile_steps = ()
    config.allocator = True  # on CPU: keep freed memory, steps are up to a third faster
    # folder of compiled programs, at most 1 GiB, and of their traces; "": none; ~/.cache is
    # XDG_CACHE_HOME if set
    config.compilation_cache = "~/.cache/matting_jax/xla"

    # Where curves and previews go in addition to the workdir.
    config.logging = ConfigDict()
    config.logging.wandb = ""  # project at Weights & Biases; "": none

    # Keywords of the network.
    config.model = ConfigDict()

    # Weights to start from.
    config.init = ConfigDict()
    config.init.checkpoint = ""  # official checkpoint or workdir of the network
    config.init.backbone = ""  # official checkpoint of only the backbone
    config.init.model = ConfigDict()  # keywords in which the network of `checkpoint` differs

    # What the network learns.
    config.task = ConfigDict()
    config.task.name = ""  # a file of matting_jax/tasks

    # Composition and augmentation on the device.
    config.synthesis = ConfigDict()

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"  # "sgd", "adam" or "adamw"
    config.optimizer.learning_rate = 0.01  # peak learning rate
    config.optimizer.momentum = 0.9  # sgd: momentum
    config.optimizer.b1 = 0.9  # adam, adamw: decay of the mean gradient
    config.optimizer.b2 = 0.999  # adam, adamw: decay of the mean squared gradient
    config.optimizer.eps = 1e-8  # adam, adamw: added to the root of the mean squared gradient
    # weight decay: decoupled for adamw, added to the gradient otherwise
    config.optimizer.weight_decay = 0.0
    config.optimizer.decay = "all"  # weight decay of "all" parameters, or of "kernels" only
    config.optimizer.clip_norm = 0.0  # maximum global norm of the gradient; 0: not clipped
    # maximum global norm as a multiple of its moving mean, as in GCA; 0: not clipped
    config.optimizer.clip_moving = 0.0
    # learning rate factor of each top-level module; 0 freezes it
    config.optimizer.module_rates = ConfigDict()

    # The learning rate over the steps.
    config.optimizer.schedule = ConfigDict()
    config.optimizer.schedule.name = "constant"  # "constant", "step", "poly" or "cosine"
    config.optimizer.schedule.warmup_steps = 0  # warm-up steps, counted in config.steps
    # fraction of the rate from which warm-up rises exponentially; 0: it rises linearly from zero
    config.optimizer.schedule.warmup_from = 0.0
    config.optimizer.schedule.first_step = 0  # 1: the first step has the rate of the second
    config.optimizer.schedule.step_every = 0  # step: steps between two changes of the rate
    config.optimizer.schedule.step_factor = 0.1  # step: factor of each change
    config.optimizer.schedule.power = 0.9  # poly: exponent

    # Data, read and cropped on the host.
    config.data = ConfigDict()
    config.data.directory = ""  # folder of prepared TFDS data sets; "": the default of TFDS
    # folder of file checks, estimated colours and denoised copies; "": ~/.cache/matting_jax
    config.data.cache = ""
    config.data.workers = 8  # threads that read and crop images
    config.data.skip_bad = False  # skip files that cannot be used instead of raising an error
    # "srgb": convert photos to sRGB by the ICC profiles of their files; "ignore": read them as sRGB
    config.data.colour_profile = "srgb"
    # colours of foregrounds that come as photo and alpha: "estimate", or "as_is" in the photo
    config.data.foreground_colours = "estimate"
    config.data.keep_decoded = False  # keep decoded images in memory, if they fit
    # GB of decoded training images kept in a file below data.cache while the run lasts; 0: none
    config.data.keep_on_disk = 0.0

    # Training data: a data set, folders, or a list file.
    config.data.train = ConfigDict()
    config.data.train.dataset = ""  # name of a data set of docs/data.md
    config.data.train.split = "train"  # split of the data set
    config.data.train.background_dataset = ""  # data set of backgrounds, if `dataset` has none
    config.data.train.background_split = "train"  # split of the data set of backgrounds
    config.data.train.foregrounds = ""  # folder with image/ and alpha/, or of RGBA files
    config.data.train.backgrounds = ""  # folder of backgrounds, with its subfolders
    config.data.train.images = ""  # folder of real photos with image/ and alpha/
    config.data.train.photos = ""  # folder of unlabelled photos and clips for SOC
    config.data.train.list = ""  # list file of PaddleSeg: foreground [background] [trimap]
    config.data.train.root = ""  # folder of the list's relative paths; "": that of the list
    config.data.train.separator = " "  # separator of the list's columns
    config.data.train.combine = 0.0  # probability of a second foreground behind the first
    # number of backgrounds that each foreground always meets, chosen by the seed; 0: any of all
    config.data.train.fixed_backgrounds = 0

    # Test data: a data set, a folder, or a list file.
    config.data.test = ConfigDict()
    config.data.test.dataset = ""  # name of a data set of docs/data.md
    config.data.test.split = "test"  # split of the data set
    config.data.test.background_dataset = ""  # data set of backgrounds, if `dataset` has none
    config.data.test.background_split = "valid"  # split of the data set of backgrounds
    # folder with image/ and alpha/, and trimap/ or background/ if the network needs them
    config.data.test.images = ""
    config.data.test.list = ""  # list file of PaddleSeg: foreground [background] [trimap]
    config.data.test.root = ""  # folder of the list's relative paths; "": that of the list
    config.data.test.separator = " "  # separator of the list's columns
    # px from soft alpha to the edge of the trimaps made where the data has none; -1: none is made
    config.data.test.trimap_distance = -1

    # Crops of the training images. A recipe adds the field of its crop rule.
    config.data.crop = ConfigDict()
    config.data.crop.size = 512  # height of the crops, px
    config.data.crop.width = 0  # width of the crops, px; 0: equal to the height
    # windows: images smaller than the window; "enlarge" them, or "pad" them to `size`
    config.data.crop.small = "enlarge"
    # windows: length that longer short sides are reduced to before; 0: no limit
    config.data.crop.max_short = 0
    config.data.crop.around = "anywhere"  # "anywhere", or around "foreground" or "unknown" pixels

    # Options of the network's test-time rule.
    config.test_time = ConfigDict()
    return config
