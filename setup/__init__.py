"""Fetches what Regatta needs and a clone does not carry: libtorch, the live page's chart library, a
small model, a small data set.

Run as `python3 -m setup` in the repository's root (`make setup` does). Standard library only;
pip does the downloading.

Layout: `__main__` the command line, `lock` the pins (`lock.json`), `download` archives by pip,
`npm` those of npm's registry, `tree` folders that are whole or absent, `libtorch` which libtorch to
use, `torch_wheels` libtorch unpacked from wheels, `uplot` the chart library, `model` and `reviews`
the quickstart's model and data, `on_request` the models that are fetched when they are asked for,
`smollm2` one of them.
"""
