"""The plain values of parameters; a module of its own, since a training process needs this word and no other of the runs."""

Param = str | int | float | bool | None
