"""What a training script calls: the run and its files, what it prints, how it ends. Imports ground and the
standard library only, and runs on Python 3.8, for it travels as the server copy. Begin with api (init, log,
finish), then run (class Run); exits gives the verdict."""
